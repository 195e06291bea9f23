"""The float plan of a rescaling equals its definition; thresholds are the steps that the definition has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgevit.errors import QuantError
from edgevit_coral.kernels import rescale as module
from edgevit_coral.kernels.rescale import DoubleRescale, FixedRescale, Rescale, float_plan, rescale_all
from edgevit_kernels.fixedpoint import spec

few = settings(max_examples=200, deadline=None)
REALS = st.one_of(st.floats(-20, 3), st.integers(-20, 3).map(float)).map(lambda exponent: 2.0**exponent)
LIMITS = st.integers(1, 2**26)


def build(fixed: bool, reals: list[float], zero_point: int, low: int) -> Rescale:
    if fixed:
        return FixedRescale.of(reals, zero_point, (low, 127), "int8")
    return DoubleRescale(zero_point, low, 127, "int8", tuple(reals))


def probes(rescale: Rescale, limit: int, seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Accumulators within the limit: everything around the steps, around zero, and at random."""
    steps = rescale.thresholds()
    near = np.concatenate([steps + offset for offset in range(-2, 3)])
    wild = np.random.default_rng(seed).integers(-limit, limit + 1, (200, steps.shape[1]))
    small = np.arange(-3, 4)[:, None] + np.zeros_like(steps[:1])
    chosen: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    chosen = np.clip(np.concatenate([near, wild, small]), -limit, limit)
    return chosen


@few
@given(st.booleans(), st.lists(REALS, min_size=1, max_size=5), st.integers(-128, 127), st.integers(-128, 100), LIMITS)
@example(False, [2.0**0.5, 0.5], 0, -1, 4)
@example(False, [2.0], 0, 1, 1)
def test_the_plan_equals_the_definition(fixed: bool, reals: list[float], zero: int, low: int, limit: int) -> None:
    rescale = build(fixed, reals, zero, low)
    limit = min(limit, int(rescale.room().min()) - 1)
    plan = float_plan(rescale, limit)
    assert plan is not None
    acc = probes(rescale, limit, abs(zero + low))
    found = plan.apply(acc.astype(plan.scale.dtype), rescale.low, rescale.high)
    np.testing.assert_array_equal(found, rescale.exact(acc))


@few
@given(st.booleans(), st.lists(REALS, min_size=1, max_size=4), st.integers(-128, 127))
def test_thresholds_are_the_steps(fixed: bool, reals: list[float], zero: int) -> None:
    rescale = build(fixed, reals, zero, -128)
    steps, level = rescale.thresholds(), np.arange(-127, 128)[:, None]
    inside = np.abs(steps) < 2**31
    assert inside.any()
    assert np.all((rescale.exact(steps) >= level)[inside])
    assert np.all((rescale.exact(steps - 1) < level)[inside])


def test_definitions_are_the_scalar_ones() -> None:
    acc = np.arange(-3000, 3000)
    fixed = FixedRescale.of(0.0371, 5, (-128, 127), "int8")
    (m,), (s,) = fixed.multiplier, fixed.shift
    scalar = [max(-128, min(127, spec.multiply_by_quantized_multiplier(int(a), m, s) + 5)) for a in acc]
    assert fixed.exact(acc).tolist() == scalar
    half = DoubleRescale(0, -128, 127, "int8", (0.5,))
    assert half.exact(np.array([-3, -2, -1, 0, 1, 2, 3])).tolist() == [-2, -1, -1, 0, 1, 1, 2]


def test_a_zero_multiplier_gives_the_zero_point() -> None:
    rescale = FixedRescale.of(2.0**-40, 7, (-128, 127), "int8")
    assert set(rescale_all(np.arange(-50, 50), rescale, 50.0).tolist()) == {7}


def test_the_integer_path_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rescale = FixedRescale.of([0.0371, 0.9], 5, (-128, 127), "int8")
    acc = np.random.default_rng(1).integers(-5000, 5000, (400, 2))
    fast = rescale_all(acc, rescale, 5000.0)
    monkeypatch.setattr(module, "float_plan", lambda rescale, limit: None)
    np.testing.assert_array_equal(fast, rescale_all(acc, rescale, 5000.0))


def test_overflow_is_refused_by_value_not_by_bound() -> None:
    rescale = FixedRescale.of(4.0, 0, (-128, 127), "int8")
    assert rescale_all(np.array([5]), rescale, 2.0**40).tolist() == [20]
    with pytest.raises(QuantError, match="overflows 32 bits"):
        rescale_all(np.array([2**29]), rescale, 2.0**40)
    with pytest.raises(QuantError, match="a multiplier of"):
        FixedRescale.of(2.0**31, 0, (-128, 127), "int8")
