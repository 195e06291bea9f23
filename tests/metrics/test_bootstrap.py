"""Intervals: they cover, they narrow, they are the same each time."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.metrics.bootstrap import CHUNK_ELEMENTS, eer_interval, interval, resample, statistic_of
from edgevit.metrics.eer import Figure

KNOWN = Figure(10.0, "MB", "measured")


def latency(samples: np.ndarray) -> Figure:
    return Figure(float(np.median(samples)), "ms", "measured", "host", tuple(samples.tolist()))


def test_statistics() -> None:
    samples = np.array([4.0, 1.0, 2.0, 3.0, 100.0])
    assert statistic_of(samples, "mean") == 22
    assert statistic_of(samples, "p50") == 3
    assert statistic_of(samples, "p90") == pytest.approx(61.6)


def test_the_interval_of_a_mean_is_the_textbooks() -> None:
    """For many samples the bootstrap has the standard error sigma / sqrt(n)."""
    samples = np.random.default_rng(1).normal(50, 4, 1000)
    bounds = interval(samples, "mean")
    error = samples.std() / np.sqrt(len(samples))
    assert bounds.low == pytest.approx(samples.mean() - 1.96 * error, abs=0.2 * error)
    assert bounds.high == pytest.approx(samples.mean() + 1.96 * error, abs=0.2 * error)


def test_it_covers_the_median_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(2)
    covered = 0
    for _ in range(200):
        bounds = interval(random.exponential(1.0, 60), "p50")
        covered += bounds.low <= np.log(2) <= bounds.high
    assert 0.90 <= covered / 200 <= 0.99


def test_equal_samples_and_seeds_give_equal_bounds() -> None:
    samples = np.random.default_rng(3).normal(5, 1, 50)
    assert interval(samples, "p90", seed=7) == interval(samples, "p90", seed=7)
    assert interval(samples, "p90", seed=7) != interval(samples, "p90", seed=8)
    assert interval(np.full(9, 2.0), "p50").low == interval(np.full(9, 2.0), "p50").high == 2


def test_many_samples_are_drawn_in_parts() -> None:
    samples = np.arange(CHUNK_ELEMENTS // 2 + 1, dtype=np.float64)
    means = resample(samples, "mean", np.random.default_rng(0), resamples=3)
    assert means.shape == (3,)
    assert np.abs(means - samples.mean()).max() < 0.01 * samples.mean()


def test_a_rate_without_samples_has_no_interval() -> None:
    assert eer_interval({"size": KNOWN}, {"size": KNOWN}, {"size": 1.0}) is None
    single = Figure(3.0, "ms", "measured", "host", (3.0,))
    assert eer_interval({"latency": single}, {"latency": single}, {"latency": 1.0}) is None


def test_a_rate_has_the_uncertainty_of_both_sides() -> None:
    random = np.random.default_rng(4)
    ours, theirs = latency(random.normal(5, 0.5, 200)), latency(random.normal(10, 1.0, 200))
    exact = Figure(theirs.value, "ms", "measured", "host")
    figures = {"latency": ours, "size": KNOWN}
    weights = {"latency": 0.5, "size": 0.5}
    both = eer_interval(figures, {"latency": theirs, "size": KNOWN}, weights)
    one = eer_interval(figures, {"latency": exact, "size": KNOWN}, weights)
    assert both is not None
    assert one is not None
    value = 0.5 * ours.value / theirs.value + 0.5
    assert both.low < value < both.high
    assert one.low < value < one.high
    assert both.high - both.low > 1.2 * (one.high - one.low)
