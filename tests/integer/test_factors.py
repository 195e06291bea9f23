"""Power-of-two factors for FQ-ViT's LayerNorm: one set for each LayerNorm, chosen on its own operand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgevit.errors import QuantError
from edgevit.integer import ops
from edgevit.integer.factors import choose_factors
from edgevit.integer.forms import SETS
from edgevit.ir.ops import LayerNorm
from edgevit.ir.types import dequantize_array
from tests.integer.lowered import integer_vit, quantized_vit
from tests.quant.graphs import pictures


def test_every_layer_norm_gets_factors_of_its_channels() -> None:
    graph = quantized_vit()
    factors = choose_factors(graph, pictures(8))
    norms = [op for op in graph.ops if isinstance(op, LayerNorm)]
    assert list(factors) == [op.loc for op in norms]
    assert {len(found.alphas) for found in factors.values()} == {16}
    assert len({alpha for found in factors.values() for alpha in found.alphas}) > 1


def test_the_factors_stand_in_the_grid_of_the_operand() -> None:
    lowered = integer_vit(SETS["fqvit"])
    norm = next(op for op in lowered.ops if isinstance(op, ops.LayerNorm))
    operand, kernel = norm.x, norm.kernel
    assert isinstance(operand, ops.Requantize)
    assert operand.type.quant is not None
    scales = np.array([float(scale) for scale in operand.type.quant.scale])
    assert np.array_equal(np.log2(scales / scales.min()) + min(kernel.alphas), kernel.alphas)
    one = np.full((1, *operand.shape), kernel.input_zero_point + 1, np.uint8)
    assert np.allclose(dequantize_array(one, operand.type)[0, 0, 0], scales)


def test_layer_norms_with_one_module_path_are_refused() -> None:
    graph = quantized_vit()
    same = graph.map(lambda op: replace(op, loc="norm") if isinstance(op, LayerNorm) else op)
    with pytest.raises(QuantError, match="one module path"):
        choose_factors(same, pictures(2))
