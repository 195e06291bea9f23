"""Biases are corrected whether calibration is sequential or not, and only when they are asked to be."""

from __future__ import annotations

import numpy as np

from edgevit.export import ExportOptions, compile_model
from edgevit.export.trace import Silent
from edgevit.ir.ops import Const, Linear
from edgevit.quant.config import QuantConfig
from tests.tools import requires


@requires("torch", "litert")
def test_biases_are_corrected_without_sequential_calibration() -> None:
    plain, corrected = (_biases(asked) for asked in (False, True))
    assert plain.keys() == corrected.keys()
    assert any(not np.array_equal(plain[place], corrected[place]) for place in plain)


def _biases(asked: bool) -> dict[int, np.ndarray]:
    config = QuantConfig(sequential=False, bias_correction=asked, norm="l2", gelu="sigmoid", weights="per-tensor")
    quantized = compile_model(ExportOptions(config=config, dry_run=True), Silent()).quantized
    linears = [op for op in quantized.ops if isinstance(op, Linear)]
    return {place: op.bias.data for place, op in enumerate(linears) if isinstance(op.bias, Const)}
