"""The Pareto front of accuracy, of which more is better, against a cost, of which less is."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(accuracy: Sequence[float], cost: Sequence[float]) -> tuple[bool, ...]:
    """For each point whether no other is at least as good in both and better in one. Equal points share their fate.

    Points are compared as they are; the caller keeps NaN out.
    """
    front = [False] * len(accuracy)
    best = float("-inf")
    best_cost = float("inf")
    # By rising cost, and at equal cost the most accurate first: a point is on the front where it beats all before it.
    for index in sorted(range(len(accuracy)), key=lambda i: (cost[i], -accuracy[i])):
        tie = accuracy[index] == best and cost[index] == best_cost
        if accuracy[index] > best or tie:
            front[index] = True
            best, best_cost = accuracy[index], cost[index]
    return tuple(front)
