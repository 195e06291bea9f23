"""The written file computes the same numbers in LiteRT's reference kernels, in edgevit's kernels and in the IR."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgevit.data import open_images
from edgevit.data.opening import EMBEDDED
from edgevit.export.options import ExportOptions
from edgevit_coral.execute import run_model
from tests.conformance.compiled import Exported, export
from tests.tools import requires

pytestmark = requires("torch", "litert")

IMAGES = 100
BATCH = 10
"""Images of 224x224 pixels that are interpreted at once, to bound memory."""


def pictures(exported: Exported, count: int) -> NDArray[np.uint8]:
    """Evaluation images of the package in the size of the model."""
    size = exported.compiled.model.preprocess.size
    images = open_images(EMBEDDED, size=size, purpose="evaluation", limit=count)
    return np.concatenate([batch.images for batch in images.batches(count)])


def assert_equal(exported: Exported, images: NDArray[np.uint8]) -> None:
    """All three agree bit for bit, and not because they say the same about every image."""
    reference = exported.by_litert(images)
    np.testing.assert_array_equal(exported.by_kernels(images), reference)
    np.testing.assert_array_equal(exported.by_interpreter(images), reference)
    assert len(np.unique(reference, axis=0)) > len(images) // 2


def test_the_embedded_model(embedded: Exported) -> None:
    assert_equal(embedded, pictures(embedded, IMAGES))


def test_extreme_images(embedded: Exported) -> None:
    """Black, white, noise of full swing: values that saturate."""
    random = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (6, 32, 32, 3))
    assert_equal(embedded, np.concatenate([np.zeros_like(random[:1]), np.full_like(random[:1], 255), random]))


def test_every_tensor_of_the_embedded_model(embedded: Exported) -> None:
    """Equal outputs could hide differences that cancel: here each value in between is compared."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        str(embedded.path),
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    image = pictures(embedded, 1)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    compared = []

    def compare(index: int, value: NDArray[np.generic]) -> None:
        np.testing.assert_array_equal(value[0], interpreter.get_tensor(index), str(embedded.model.tensors[index].name))
        compared.append(index)

    run_model(embedded.model, [image[:, None]], observe=compare)
    assert len(compared) == 1 + len(embedded.model.operators)


def test_signed_input_and_output(embedded: Exported, tmp_path: Path) -> None:
    """The same model with int8 pixels and logits gives the same logits, 128 lower."""
    options = ExportOptions(io="int8", output=tmp_path / "bundle", evaluation_limit=10)
    exported = export(options, tmp_path)
    images = pictures(exported, 20)
    assert_equal(exported, images)
    signed = exported.by_litert(images)
    assert signed.dtype == np.int8
    np.testing.assert_array_equal(signed.astype(int) + 128, embedded.by_litert(images))


@requires("timm")
def test_deit_tiny_at_224(deit_tiny: Exported) -> None:
    images = pictures(deit_tiny, IMAGES)
    for start in range(0, IMAGES, BATCH):
        assert_equal(deit_tiny, images[start : start + BATCH])


@requires("timm")
@pytest.mark.parametrize("seed", [1])
def test_the_order_of_samples_does_not_matter(deit_tiny: Exported, seed: int) -> None:
    """A batch is nothing but its samples: the interpreter's vectorisation mixes none of them."""
    images = pictures(deit_tiny, 4)
    order = np.random.default_rng(seed).permutation(len(images))
    np.testing.assert_array_equal(deit_tiny.by_kernels(images[order]), deit_tiny.by_kernels(images)[order])
