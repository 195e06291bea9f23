"""The front against its definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgevit.metrics.pareto import pareto_front

Point = tuple[float, float]
# Few distinct values, so that ties are frequent.
POINTS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5)).map(lambda p: (float(p[0]), float(p[1]))), max_size=20
)


def dominates(a: Point, b: Point) -> bool:
    """Points are (accuracy, cost)."""
    return a[0] >= b[0] and a[1] <= b[1] and a != b


def front(points: list[Point]) -> tuple[bool, ...]:
    return pareto_front([accuracy for accuracy, _ in points], [cost for _, cost in points])


@given(POINTS)
def test_a_point_is_on_the_front_where_none_dominates_it(points: list[Point]) -> None:
    assert front(points) == tuple(not any(dominates(other, point) for other in points) for point in points)


@given(POINTS, st.randoms())
def test_the_order_does_not_matter(points: list[Point], random: object) -> None:
    chosen = {point for point, best in zip(points, front(points), strict=True) if best}
    shuffled = list(points)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert {point for point, best in zip(shuffled, front(shuffled), strict=True) if best} == chosen


def test_examples() -> None:
    assert front([]) == ()
    assert front([(80, 10)]) == (True,)
    assert front([(80, 10), (80, 10)]) == (True, True)
    assert front([(80, 10), (80, 12), (79, 10), (81, 30), (70, 5)]) == (True, False, False, True, True)
