from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from edgevit.errors import QuantError, UsageError
from edgevit.quant.clipping import best_entropy_clip, best_mse_clip, clip_mse
from edgevit.quant.grids import GridSpec, fake_quantize, range_grid, settle_range
from edgevit.quant.histogram import Histogram
from edgevit.quant.observers import (
    OBSERVERS,
    Entropy,
    MinMax,
    MovingAverage,
    Mse,
    Percentile,
    PerChannel,
    make_observer,
)

Floats = NDArray[np.float32]
arrays = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=3, max_side=6), elements=st.floats(-1e4, 1e4, width=32)
)
batches = st.lists(arrays, min_size=1, max_size=4)
names = st.sampled_from(sorted(OBSERVERS))


def filled(values: Floats, bins: int = 4096) -> Histogram:
    histogram = Histogram(bins)
    histogram.update(values)
    return histogram


def heavy_tailed(count: int = 20000, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_t(2, size=(1, count)).astype(np.float32)


@given(batches)
def test_min_max_is_what_brute_force_says(data: list[Floats]) -> None:
    observer = MinMax()
    for batch in data:
        observer.update(batch)
    flat = np.concatenate([batch.ravel() for batch in data])
    assert observer.range() == settle_range(float(flat.min()), float(flat.max()))
    assert observer.constant == (flat.min() == flat.max())


@given(batches)
def test_the_moving_average_follows_its_formula(data: list[Floats]) -> None:
    observer = MovingAverage(0.95)
    lo, hi = float(data[0].min()), float(data[0].max())
    for index, batch in enumerate(data):
        observer.update(batch)
        if index:
            lo, hi = 0.95 * lo + 0.05 * float(batch.min()), 0.95 * hi + 0.05 * float(batch.max())
    assert observer.range() == pytest.approx(settle_range(lo, hi))


@given(batches, names, st.booleans())
@settings(max_examples=60)
def test_every_observer_stays_within_the_extremes_and_holds_zero(
    data: list[Floats], name: str, symmetric: bool
) -> None:
    observer = make_observer(name, GridSpec(symmetric=symmetric))
    for batch in data:
        observer.update(batch)
    lo, hi = observer.range()
    whole = settle_range(min(float(b.min()) for b in data), max(float(b.max()) for b in data))
    assert lo <= 0 <= hi
    assert lo < hi
    assert whole[0] - 1e-9 <= lo
    assert hi <= whole[1] + 1e-9


@given(batches, st.permutations(range(4)))
def test_a_histogram_does_not_depend_on_the_order(data: list[Floats], order: list[int]) -> None:
    one, other = Histogram(64), Histogram(64)
    for batch in data:
        one.update(batch)
    for index in order:
        if index < len(data):
            other.update(data[index])
    assert (one.edges == other.edges).all()
    assert (one.counts == other.counts).all()


@given(batches)
def test_a_histogram_counts_everything_in_the_right_bin(data: list[Floats]) -> None:
    histogram = Histogram(32)
    for batch in data:
        histogram.update(batch)
    flat = np.concatenate([batch.ravel() for batch in data]).astype(np.float64)
    assert histogram.total == flat.size
    assert len(histogram.counts) <= 32
    assert (histogram.lo, histogram.hi) == (flat.min(), flat.max())
    for bin, (low, high) in enumerate(zip(histogram.edges[:-1], histogram.edges[1:], strict=True)):
        assert histogram.counts[bin] == ((low <= flat) & (flat < high)).sum()


def test_a_histogram_of_a_narrow_far_range_keeps_its_resolution() -> None:
    histogram = filled(np.linspace(1000.0, 1000.5, 5000, dtype=np.float32))
    assert histogram.width <= 0.5 / 2048
    assert histogram.percentile(50) == pytest.approx(1000.25, abs=1e-3)


@pytest.mark.parametrize("percent", [0.1, 1.0, 50.0, 99.0, 99.9])
def test_percentiles_agree_with_numpy_to_a_bin(percent: float) -> None:
    values = heavy_tailed()
    histogram = filled(values)
    below = (values <= histogram.percentile(percent) + histogram.width).mean() * 100
    above = (values <= histogram.percentile(percent) - histogram.width).mean() * 100
    assert above <= percent <= below


def test_the_percentile_observer_cuts_outliers_off_on_both_sides() -> None:
    values = np.concatenate([np.linspace(-1, 1, 100_000), [500.0, -400.0]]).astype(np.float32)[None]
    observer = Percentile(99.9)
    observer.update(values)
    lo, hi = observer.range()
    assert -1.2 < lo < -0.9
    assert 0.9 < hi < 1.2
    with pytest.raises(UsageError, match="percentile"):
        Percentile(40)


@given(arrays, st.booleans(), st.integers(3, 8))
@settings(max_examples=60)
def test_the_mse_clip_is_never_worse_than_the_extremes(values: Floats, symmetric: bool, bits: int) -> None:
    spec, histogram = GridSpec(bits=bits, symmetric=symmetric), filled(values)
    lo, hi = best_mse_clip(histogram, spec)
    full = settle_range(histogram.lo, histogram.hi)
    chosen, whole = clip_mse(histogram, np.array([lo, full[0]]), np.array([hi, full[1]]), spec)
    assert chosen <= whole


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_mse_observer_beats_min_max_on_the_data_itself(symmetric: bool) -> None:
    values, spec = (
        np.random.default_rng(0).laplace(size=(1, 20_000)).astype(np.float32),
        GridSpec(bits=4, symmetric=symmetric),
    )
    errors = []
    for observer in (Mse(spec), MinMax()):
        observer.update(values)
        errors.append(
            float(np.square(fake_quantize(values, range_grid(*observer.range(), spec), spec) - values).mean())
        )
    assert errors[0] < 0.5 * errors[1]


def test_clip_mse_is_the_mean_squared_error_of_the_bin_centres() -> None:
    histogram, spec = filled(heavy_tailed(500), 64), GridSpec(bits=4)
    rounded = fake_quantize(histogram.centres, range_grid(-3.0, 5.0, spec), spec)
    expected = float(np.average(np.square(rounded - histogram.centres), weights=histogram.counts))
    assert clip_mse(histogram, np.array([-3.0]), np.array([5.0]), spec)[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("symmetric", [False, True])
def test_entropy_clips_far_outliers_and_keeps_an_even_distribution(symmetric: bool) -> None:
    spec = GridSpec(symmetric=symmetric)
    rng = np.random.default_rng(0)
    tailed = np.concatenate([rng.normal(size=200_000), [300.0, -250.0]]).astype(np.float32)
    lo, hi = best_entropy_clip(filled(tailed), spec)
    assert hi < 60
    assert lo > -60
    even = rng.uniform(-1, 1, 200_000).astype(np.float32)
    lo, hi = best_entropy_clip(filled(even), spec)
    assert hi > 0.95
    assert lo < -0.95


@pytest.mark.parametrize("name", sorted(OBSERVERS))
@pytest.mark.parametrize("value", [0.0, 2.5, -2.5])
def test_constant_values_get_a_range(name: str, value: float) -> None:
    observer = make_observer(name, GridSpec())
    observer.update(np.full((2, 3), value, np.float32))
    assert observer.constant
    lo, hi = observer.range()
    assert lo <= min(value, 0) <= max(value, 0) <= hi
    assert lo < hi


@pytest.mark.parametrize("name", sorted(OBSERVERS))
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(name: str, bad: float) -> None:
    with pytest.raises(QuantError, match="NaN" if np.isnan(bad) else "infinite"):
        make_observer(name, GridSpec()).update(np.array([[1.0, bad]], np.float32))


@pytest.mark.parametrize("name", sorted(OBSERVERS))
def test_an_observer_that_saw_nothing_says_so(name: str) -> None:
    observer = make_observer(name, GridSpec())
    observer.update(np.zeros((0, 3), np.float32))
    with pytest.raises(QuantError, match="never observed"):
        observer.range()


def test_an_unknown_observer_is_named() -> None:
    with pytest.raises(UsageError, match="'median'"):
        make_observer("median", GridSpec())
    with pytest.raises(UsageError, match="'mse'"):
        PerChannel("mse")


@pytest.mark.parametrize("axis", [-1, 1])
def test_channel_ranges_are_those_of_each_channel(axis: int) -> None:
    data = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32) + 10
    observer = PerChannel("minmax", axis=axis)
    observer.update(data[:2])
    observer.update(data[2:])
    lo, hi = observer.ranges()
    others = tuple(i for i in range(3) if i != axis % 3)
    np.testing.assert_array_equal(lo, data.min(axis=others))
    np.testing.assert_array_equal(hi, data.max(axis=others))


def test_channel_percentiles_clip_each_channel_alone() -> None:
    data = np.random.default_rng(0).uniform(-1, 1, (1, 20_000, 2)).astype(np.float32) * [1, 100]
    data[0, 0] = 1e4
    observer = PerChannel("percentile", percentile=99)
    observer.update(data)
    _, hi = observer.ranges()
    # 512 bins up to 1e4 are 32 wide: the narrow channel is known to one bin.
    assert hi[0] < 33
    assert 90 < hi[1] < 140


def test_entropy_observer_streams() -> None:
    values, spec = heavy_tailed(), GridSpec()
    whole, parts = Entropy(spec), Entropy(spec)
    whole.update(values)
    for part in np.split(values, 8, axis=1):
        parts.update(part)
    assert whole.range() == parts.range()
