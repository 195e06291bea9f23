"""Tables: correctly rounded against definitions that are not ours, the same everywhere, and looked up as specified."""

from __future__ import annotations

import hashlib
import importlib
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgevit.errors import QuantError
from edgevit_kernels.requantize.spec import INT8, INT16, INT32, UINT8
from edgevit_kernels.table import functions, ref, spec

few = settings(max_examples=100, deadline=None)

LIBM: dict[str, Callable[[float], float]] = {
    "exp": math.exp,
    "gelu": lambda x: x * 0.5 * math.erfc(-x / math.sqrt(2)),
    "hardswish": lambda x: x * min(max(x + 3, 0), 6) / 6,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)) if x > -700 else 0.0,
    "silu": lambda x: x / (1 + math.exp(-x)) if x > -700 else 0.0,
    "tanh": math.tanh,
}

# Input scale, input zero point, output scale: a range as it comes out of calibration.
CASES = {
    "exp": (Fraction(1, 16), 127, Fraction(1, 255)),
    "gelu": (Fraction(1, 20), -10, Fraction(1, 24)),
    "hardswish": (Fraction(1, 20), -10, Fraction(1, 24)),
    "sigmoid": (Fraction(1, 16), 0, Fraction(1, 256)),
    "silu": (Fraction(1, 20), -10, Fraction(1, 24)),
    "tanh": (Fraction(1, 32), 3, Fraction(1, 128)),
}


# SHA-256 of the tables that ``_tables`` makes; it may change only with the specification.
DIGEST = "940594ac818583281035508235f642ac8116a5b68e7242d11875e48ebaf76a4b"


def _tables() -> str:
    """Digest of all six 16-bit tables at awkward scales."""
    digest = hashlib.sha256()
    for name in sorted(LIBM):
        params = spec.prepare(name, 0.0437, 1e-4, input_zero_point=5, output_limits=INT16)
        digest.update(np.array(params.entries, dtype="<i2").tobytes())
    return digest.hexdigest()


def test_every_function_has_a_definition_to_compare_with() -> None:
    assert functions.FUNCTIONS.keys() == LIBM.keys() == CASES.keys()


@pytest.mark.parametrize("name", LIBM)
@few
@given(x=st.fractions(-40, 40, max_denominator=10**6))
@example(x=Fraction(0))
@example(x=Fraction(16))
@example(x=Fraction(-16))
@example(x=Fraction(161, 10))
def test_enclosures_hold_the_function_and_narrow(name: str, x: Fraction) -> None:
    low, high = functions.FUNCTIONS[name](x, 40)
    assert float(high) == pytest.approx(LIBM[name](float(x)), rel=1e-13, abs=1e-14)
    finer_low, finer_high = functions.FUNCTIONS[name](x, 80)
    assert low <= finer_low <= finer_high <= high
    # Where the bound of the tail stands in for the function, it is narrow whatever the digits.
    assert finer_high - finer_low <= max(Fraction(abs(low), 10**70), Fraction(1, 10**50))


def test_pi() -> None:
    low, high = functions.pi(50)
    published = Fraction(31415926535897932384626433832795028841971693993751058209749445, 10**61)
    assert low < published < high
    assert high - low < Fraction(1, 10**50)


def test_against_published_digits() -> None:
    """Digits of mathematical tables (Abramowitz and Stegun 4.2 and 26.1): e, and the normal distribution at 1."""
    cases = [
        (functions.exp, "2.71828182845904523536028747135"),
        (functions.normal_cdf, "0.841344746068542948585232545632"),
    ]
    for function, digits in cases:
        low, high = function(Fraction(1), 40)
        assert abs(low - Fraction(digits)) < Fraction(1, 10**29)
        assert abs(high - Fraction(digits)) < Fraction(1, 10**29)


@pytest.mark.parametrize("limits", [INT8, UINT8, INT16], ids=["int8", "uint8", "int16"])
@pytest.mark.parametrize("name", LIBM)
def test_error_in_output_steps(name: str, limits: tuple[int, int]) -> None:
    """All 256 entries lie within 1/2 step (and a rounding of libm) of the real function, or at the limit.

    Measured over the cases above: max 0.500, mean 0.14 to 0.27 steps, the least a table can have.
    """
    step, zero, out = CASES[name]
    out_zero = -100 if limits == INT8 else 20
    if limits == INT16:
        out /= 100
    params = spec.prepare(name, step, out, input_zero_point=zero, output_zero_point=out_zero, output_limits=limits)
    assert len(params.entries) == 256
    inside = 0
    for q, entry in zip(range(-128, 128), params.entries, strict=True):
        real = LIBM[name](float(step * (q - zero))) / float(out) + out_zero
        assert abs(entry - min(max(real, limits[0]), limits[1])) <= 0.5 + 1e-9
        inside += limits[0] < entry < limits[1]
    assert inside > 50


@pytest.mark.parametrize("module", ["decimal", "_pydecimal"])
def test_the_tables_are_the_same_on_every_platform(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both implementations of decimal arithmetic, the one in C and the one in Python, give the pinned tables."""
    monkeypatch.setattr(functions, "decimal", importlib.import_module(module))
    assert _tables() == DIGEST


def test_ties_of_a_rational_function_go_up() -> None:
    """hardswish(x) = x for x >= 3 and 0 below -3; at half steps of the output every second value is a tie."""
    params = spec.prepare("hardswish", Fraction(1, 2), 1, output_limits=INT8)
    for q in range(6, 128):
        assert params.entries[q + 128] == math.ceil(Fraction(q, 2))
    # hardswish(-3/2) = -3/8, of which the tie is -1/2 in steps of 3/4.
    assert spec.prepare("hardswish", Fraction(1, 2), Fraction(3, 4)).entries[128 - 3] == 0


@pytest.mark.parametrize("name", ["gelu", "silu"])
def test_values_just_beside_a_tie(name: str) -> None:
    """For large x both functions are below x by as little as 10**-57 and 10**-437: x at a tie has to round down."""
    params = spec.prepare(name, Fraction(8), 16, output_limits=INT32)
    for q in (5, 7, 101, 127):
        assert params.entries[q + 128] == (q - 1) // 2
    assert params.entries[:125] == (0,) * 125


def test_the_digits_grow_until_the_rounding_is_settled() -> None:
    asked = []

    def beside_a_tie(x: Fraction, digits: int) -> tuple[Fraction, Fraction]:
        asked.append(digits)
        value = x + Fraction(1, 10**100)
        return value - Fraction(1, 10**digits), value + Fraction(1, 10**digits)

    assert spec.round_half_up(beside_a_tie, Fraction(1, 2), Fraction(1)) == 1
    assert asked == [30, 60, 120]

    def tie(x: Fraction, digits: int) -> tuple[Fraction, Fraction]:
        return x - Fraction(1, 10**digits), x + Fraction(1, 10**digits)

    with pytest.raises(QuantError, match="within 10"):
        spec.round_half_up(tie, Fraction(1, 2), Fraction(1))


@pytest.mark.parametrize("limits", [INT8, UINT8])
def test_ref_is_spec_for_every_byte(limits: tuple[int, int]) -> None:
    params = ref.prepare("silu", 0.05, 0.03, input_zero_point=11, input_limits=limits)
    every = np.arange(limits[0], limits[1] + 1)
    expected = spec.apply(every.tolist(), params)
    assert ref.apply(every, params).tolist() == expected
    kind = np.int8 if limits == INT8 else np.uint8
    assert ref.apply(every.astype(kind).reshape(2, 8, 16), params).ravel().tolist() == expected
    assert len(set(expected)) > 50


@pytest.mark.parametrize("scale", [1e-12, 1e3, 1e9])
@pytest.mark.parametrize("name", sorted(set(LIBM) - {"exp"}))
def test_extreme_scales(name: str, scale: float) -> None:
    """Entries are right far into saturation, where exponentials underflow every floating-point number."""
    entries = spec.prepare(name, scale, scale if name not in ("sigmoid", "tanh") else 0.01).entries
    if scale > 1:
        expected = {"sigmoid": (0, 50, 100), "tanh": (-100, 0, 100)}.get(name, (0, 0, 127))
    else:
        expected = {"sigmoid": (50, 50, 50), "tanh": (0, 0, 0)}.get(name, (-64, 0, 64))
    assert (entries[0], entries[128], entries[255]) == expected


def test_refusals() -> None:
    with pytest.raises(QuantError, match=r"'swish'(.*\n)*.*silu"):
        spec.prepare("swish", 1, 1)
    with pytest.raises(QuantError, match=r"65536 entries(.*\n)*.*8 bits"):
        spec.prepare("silu", 1, 1, input_limits=INT16)
    with pytest.raises(QuantError, match=r"exp of 1030(.*\n)*.*subtract"):
        spec.prepare("exp", 10, 1)
    with pytest.raises(QuantError, match="zero point"):
        spec.prepare("silu", 1, 1, input_zero_point=300)
    with pytest.raises(QuantError, match="the output scale is nan"):
        spec.prepare("silu", 1, math.nan)
