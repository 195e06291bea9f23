"""torch's decomposition of attention guards softmax against rows that are masked throughout; here it is recognized.

The guard is ``where(logical_not(any(logical_not(eq(scores, -inf)))), 0, softmax(scores))``. Its condition depends on
the image only in form: its scores are finite, so no row is -inf throughout unless a constant mask hides all of it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def safe_softmaxes(graph: torch.fx.Graph) -> dict[torch.fx.Node, torch.fx.Node]:
    """For each guard's ``where`` node, the softmax node that takes its place."""
    found: dict[torch.fx.Node, torch.fx.Node] = {}
    for node in graph.nodes:
        if str(node.target) != "aten.where.self":
            continue
        condition, zeros, softmax = node.args
        if str(softmax.target) not in ("aten._softmax.default", "aten.softmax.int"):
            continue
        if str(zeros.target) not in ("aten.full_like.default", "aten.full.default") or zeros.args[1] != 0:
            continue
        if _is_fully_masked(condition, softmax.args[0]):
            found[node] = softmax
    return found


def _is_fully_masked(condition: Any, scores: torch.fx.Node) -> bool:
    chain = ("aten.logical_not.default", "aten.any.dim", "aten.logical_not.default", "aten.eq.Scalar")
    node = condition
    for i, target in enumerate(chain):
        if str(node.target) != target:
            return False
        if i < len(chain) - 1:
            node = node.args[0]
    return node.args[0] is scores and node.args[1] == -math.inf
