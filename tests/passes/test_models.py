"""The standard pipeline on whole models."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from edgevit.ir.graph import Graph
from edgevit.ir.interp import run
from edgevit.ir.ops import Transpose
from edgevit.ir.text import print_graph
from edgevit.passes.pipeline import STANDARD
from tests.tools import requires

IMAGE_ORDERS = ((0, 3, 1, 2), (0, 2, 3, 1))


def lowered(spec: str) -> Graph:
    from edgevit.frontend import load_model, lower

    return lower(load_model(spec))


def checked(graph: Graph) -> Graph:
    """The result of the pipeline, which means the same and which a second run does not change."""
    result = STANDARD.run(graph).graph
    assert print_graph(STANDARD.run(result).graph) == print_graph(result)
    pixels = np.random.default_rng(0).integers(0, 256, (2, *graph.inputs[0].shape)).astype(np.float32)
    (before,), (after,) = run(graph, [pixels]), run(result, [pixels])
    # Constants are folded in another order than they were applied, on pixels up to 255: 2e-5 of the largest logit.
    np.testing.assert_allclose(after, before, rtol=0, atol=2e-5 * float(np.abs(before).max()))
    return result


@requires("torch")
def test_embedded_model_keeps_no_transposed_image_and_raises_every_attention() -> None:
    result = checked(lowered("embedded"))
    assert not [op for op in result.ops if isinstance(op, Transpose) and op.perm in IMAGE_ORDERS]
    count = Counter(op.NAME for op in result.ops)
    assert count["attention"] == 6
    assert count["transpose"] == 12, "two for each attention: heads apart and heads together"
    assert not {"batch_norm", "softmax", "matmul", "mul", "div"} & set(count)


@requires("torch", "timm")
@pytest.mark.parametrize(("name", "transposes"), [("poolformer_s12", 0), ("pvt_v2_b0", 18)])
def test_transposes_left_in_models_with_images_inside(name: str, transposes: int) -> None:
    result = checked(lowered(f"timm:{name}"))
    assert sum(isinstance(op, Transpose) for op in result.ops) == transposes
