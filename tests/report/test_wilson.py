"""The interval against published values and against the equation that defines it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevit.report.wilson import Z_95, wilson


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_examples_of_newcombe(hits: int, trials: int, low: float, high: float) -> None:
    """R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    found = wilson(hits / trials, trials)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 100_000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_each_bound_is_where_the_score_test_turns(sample: tuple[int, int]) -> None:
    hits, trials = sample
    share = hits / trials
    found = wilson(share, trials)
    assert 0.0 <= found.low <= share <= found.high <= 1.0
    assert found.low < found.high
    for bound in (found.low, found.high):
        if 0.0 < bound < 1.0:
            assert abs(share - bound) == pytest.approx(Z_95 * math.sqrt(bound * (1 - bound) / trials), abs=1e-9)


@pytest.mark.parametrize(("share", "trials"), [(1.1, 10), (-0.1, 10), (0.5, 0), (math.nan, 10)])
def test_what_is_no_share_is_refused(share: float, trials: int) -> None:
    with pytest.raises(ValueError, match="needs a share"):
        wilson(share, trials)
