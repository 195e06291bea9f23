"""The published forms' values and defects, and that the repaired variants mend them."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from edgevit.errors import QuantError
from edgevit_kernels.softmax.ibert import spec as ibert
from edgevit_kernels.softmax.ibert_repaired import spec as ibert_repaired
from edgevit_kernels.softmax.ivit import ref as ivit_ref
from edgevit_kernels.softmax.ivit import spec as ivit
from edgevit_kernels.softmax.ivit_repaired import spec as ivit_repaired


def test_shiftmax_by_hand() -> None:
    """S = 1/8, differences 0 and -8 (one nat): x0 = -8, t = -8 - 4 + 1 = -11, q = 1, r = -3, e = 6.5 * 2**14."""
    stages = ivit.trace([8, 0], ivit.prepare(0.125, 2))
    assert stages["exponential"] == [8 << 15, 106496]
    assert stages["reciprocal"] == [(2**31 - 1) // (262144 + 106496)]
    assert stages["output"] == [91, 36]
    # The TVM code has n = 16 and floors r / 2 to -2.
    assert ivit.trace([8, 0], ivit.prepare(0.125, 2, code="tvm"))["exponential"] == [8 << 16, 6 << 15]


def test_shift_exponential_error() -> None:
    """At S = 0.05 the exponential is within 0.0592 of the real one, 0.059 in facts/methods.md A1."""
    params = ivit.prepare(0.05, 256)
    row = list(range(127, -129, -1))
    e = np.array(ivit.trace(row, params)["exponential"]) / (-params.x0 << params.n)
    error = np.abs(e - np.exp(-0.05 * np.arange(256))).max()
    assert 0.055 < error < 0.0593


def test_shiftmax_saturates_on_long_rows_of_fine_scores_and_the_repaired_does_not() -> None:
    """length * ceil(1 / S) = 65536 is the edge: there the sum saturates, and probabilities come out too large."""
    for length, saturated in ((63, False), (64, True), (512, True)):
        row = [0] * length
        stages = ivit.trace(row, ivit.prepare(2.0**-10, length, output_bits=16))
        assert (stages["total"] == [2**31 - 1]) is saturated
    assert sum(stages["output"]) == 512 * 512  # 8 times the mass of 2**15
    assert sum(ivit_repaired.apply(row, ivit_repaired.prepare(2.0**-10, 512, unit=32767))) == 32767


def test_shiftmax_tail_stays_and_the_repaired_falls_to_zero() -> None:
    row = [127, -128]
    assert ivit.trace(row, ivit.prepare(1.0, 2))["exponential"][1] > 0
    assert ivit_repaired.trace(row, ivit_repaired.prepare(1.0, 2))["exponential"][1] == 0


@pytest.mark.parametrize("length", [1, 2, 65, 197, 1024])
@pytest.mark.parametrize("unit", [127, 255, 32767])
def test_the_repaired_shiftmax_loses_no_mass(length: int, unit: int) -> None:
    params = ivit_repaired.prepare(0.0625, length, unit=unit)
    scores = np.random.default_rng(length).integers(-128, 128, (20, length))
    for row in [*scores.tolist(), [5] * length]:
        assert sum(ivit_repaired.apply(row, params)) == unit


def test_shiftmax_at_8_bits_loses_mass() -> None:
    """1024 equal scores: every probability floors to zero, and the whole mass is lost."""
    assert ivit_ref.apply(np.zeros(1024), ivit_ref.prepare(0.0625, 1024)).sum() == 0


def test_i_exp_overflows_at_the_published_n() -> None:
    """c 2**30 = 6.0e10 at S = 0.223, the example of facts/methods.md A2; no scale up to 1 fits."""
    params = ibert.prepare(0.223, 1, exponential_bits=64)
    assert params.c << ibert.N == pytest.approx(6.0e10, rel=0.01)
    for scale in (2.0**-14, 2.0**-10, 0.0625, 0.223, 1.0):
        with pytest.raises(QuantError, match=r"softmax form 'ibert': exponential reaches .*\nhint: .*ibert_repaired"):
            ibert.prepare(scale, 1)
        exponential = ibert_repaired.prepare(scale, 1).exponential
        assert exponential.c << exponential.left < 2**31


def test_i_exp_follows_the_exponential() -> None:
    """The repaired i-exp is within 0.0035 of exp at every scale; the published one within that only at fine scales."""
    differences = list(range(0, -256, -1))
    for scale in (2.0**-10, 0.01, 0.0625, 0.3, 1.0):
        params = ibert_repaired.prepare(scale, 256)
        narrow = ibert_repaired.trace([d + 127 for d in differences], params)["narrow"]
        assert max(abs(e / 32767 - math.exp(scale * d)) for e, d in zip(narrow, differences, strict=True)) < 0.0035
    coarse = ibert.trace([d + 127 for d in differences], ibert.prepare(0.3, 256, exponential_bits=64))["narrow"]
    assert max(abs(e / 32767 - math.exp(0.3 * d)) for e, d in zip(coarse, differences, strict=True)) > 0.01


def test_i_softmax_by_hand() -> None:
    """S = 1/8: x0 = -6, b = 21, c = 178; a difference of -8 has q = 1, r = -2, z = -2 * 19 + 178 = 140."""
    params = ibert.prepare(Fraction(1, 8), 2, exponential_bits=64)
    stages = ibert.trace([8, 0], params)
    assert (params.x0, params.b, params.c) == (-6, 21, 178)
    assert stages["polynomial"] == [178, 140]
    assert stages["narrow"] == [32767, math.floor(32767 * 70 / 178 + 0.5)]
    assert stages["output"] == [183, 72]
