"""``canonicalize-views``: the fewest reshapes and transposes that do the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgevit.ir.graph import Form
from edgevit.ir.op import Op
from edgevit.ir.ops import Reshape, Transpose
from edgevit.passes.base import Context, Reject, RewritePass, Rule
from edgevit.passes.views import Layout, build, cost


@dataclass(frozen=True)
class ShortestChain(Rule):
    """A chain of at least ``length`` views becomes the cheapest chain with the same result.

    Each step lowers (transposes, views) of the whole graph in lexicographic order, so the pass ends. A view with other
    users stays for them: it does not count as saved.
    """

    length: int = 1

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        if not isinstance(op, (Reshape, Transpose)):
            return None
        if op.type.quant is not None and op.type.quant.axis is not None:
            return Reject(f"its grid is per channel, on axis {op.type.quant.axis}")
        chain: list[Reshape | Transpose] = []
        best: tuple[int, int, Op] | None = None
        transposes = views = 0
        shared = ""
        x: Op = op
        while isinstance(x, (Reshape, Transpose)):
            if chain and not shared and not context.single_use(x):
                shared = f"the {x.NAME} before it has {context.uses[x]} uses"
            if not shared:
                transposes += isinstance(x, Transpose)
                views += 1
            chain.insert(0, x)
            x = x.x
            layout = _layout(x, chain)
            if layout is None:
                break
            candidate = build(x, layout, op.loc)
            spent = cost(candidate, x)
            gain = (spent[0] - transposes, spent[1] - views)
            if len(chain) >= self.length and gain < (best[:2] if best else (0, 0)):
                best = (*gain, candidate)
        if best is not None:
            return best[2]
        return Reject(shared) if shared else None


def _layout(x: Op, chain: list[Reshape | Transpose]) -> Layout | None:
    layout: Layout | None = Layout.of(x.shape)
    for view in chain:
        if layout is not None:
            layout = layout.then(view)
    return layout


@dataclass(frozen=True)
class CanonicalizeViews(RewritePass):
    """Squeeze, unsqueeze and flatten are reshapes; a transpose that only moves axes of size 1 becomes one."""

    NAME: ClassVar[str] = "canonicalize-views"
    NEEDS: ClassVar[tuple[Form, ...]] = (Form.FLOAT, Form.CALIBRATED, Form.QUANTIZED)

    def rules(self) -> tuple[Rule, ...]:
        return (ShortestChain(),)
