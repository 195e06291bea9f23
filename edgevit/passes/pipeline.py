"""Passes in a row. Each is checked on both sides: the form that it needs, and the invariants of what it gives."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from edgevit.errors import IRError, PassError, UsageError
from edgevit.ir.graph import Graph
from edgevit.ir.ops import Const
from edgevit.ir.verify import verify
from edgevit.passes.base import Pass, Rejection
from edgevit.passes.canonicalize_views import CanonicalizeViews
from edgevit.passes.common_subexpressions import CommonSubexpressions
from edgevit.passes.dead_code import DeadCode
from edgevit.passes.fold_batch_norm import FoldBatchNorm
from edgevit.passes.fold_constants import FoldConstants
from edgevit.passes.fold_scales import FoldScales
from edgevit.passes.raise_attention import RaiseAttention
from edgevit.passes.raise_gelu import RaiseGelu
from edgevit.passes.raise_layer_norm import RaiseLayerNorm
from edgevit.passes.raise_softmax import RaiseSoftmax
from edgevit.passes.registry import make_pass, suggestion
from edgevit.passes.sink_transposes import SinkTransposes

_ITEM = re.compile(r"\s*(?P<name>[\w-]+)\s*(?:\{(?P<options>[^{}]*)\})?\s*(?P<end>,|$)")


@dataclass(frozen=True)
class PassRecord:
    """What one pass of a pipeline did. Constants do not count as ops. ``rejections`` are collected on request only."""

    name: str
    spec: str
    seconds: float
    ops_before: int
    ops_after: int
    rejections: tuple[Rejection, ...] = ()


@dataclass(frozen=True)
class PipelineResult:
    """The final graph, and one record for each pass that ran."""

    graph: Graph
    records: tuple[PassRecord, ...]


@dataclass(frozen=True)
class Pipeline:
    """Passes in execution order."""

    passes: tuple[Pass, ...]

    def run(
        self,
        graph: Graph,
        *,
        on_pass: Callable[[PassRecord, Graph], None] | None = None,
        stop_after: str | None = None,
        explain: bool = False,
    ) -> PipelineResult:
        """Run all passes, or those up to the first one named ``stop_after``.

        ``on_pass`` gets the record and the result of each as soon as it is verified. With ``explain`` the records say
        why rules did not fire, which about doubles the time. Raises PassError for a pass that gets the wrong form or
        breaks an invariant, IRError when the operand already does, UsageError for an unknown ``stop_after``.
        """
        names = [item.NAME for item in self.passes]
        if stop_after is not None and stop_after not in names:
            raise UsageError(
                f"the pipeline has no pass {stop_after!r}", hint=suggestion(stop_after, dict.fromkeys(names))
            )
        last = len(names) if stop_after is None else names.index(stop_after) + 1
        verify(graph)
        records: list[PassRecord] = []
        for item in self.passes[:last]:
            start = time.perf_counter()
            result = _checked(item, graph)
            seconds = time.perf_counter() - start
            rejections = item.why(graph) if explain else ()
            record = PassRecord(item.NAME, item.spec(), seconds, count_ops(graph), count_ops(result), rejections)
            records.append(record)
            graph = result
            if on_pass is not None:
                on_pass(record, graph)
        return PipelineResult(graph, tuple(records))

    def spec(self) -> str:
        """The text that ``parse_pipeline`` reads back."""
        return ",".join(item.spec() for item in self.passes)


def parse_pipeline(text: str) -> Pipeline:
    """The pipeline of a spec such as ``fold-constants,fold-scales{option=value,other=value}``.

    Raises UsageError that names the place for anything else.
    """
    passes: list[Pass] = []
    position = 0
    while position < len(text) or not passes:
        match = _ITEM.match(text, position)
        if match is None:
            mark = f"{text}\n  {' ' * position}^"
            raise UsageError(
                f"cannot read the pipeline\n  {mark}", hint="passes are separated by commas: name,name{option=value}"
            )
        passes.append(make_pass(match["name"], _options(match["name"], match["options"] or "")))
        position = match.end()
        if match["end"] and position == len(text):
            raise UsageError(f"the pipeline {text!r} ends with a comma")
    return Pipeline(tuple(passes))


def count_ops(graph: Graph) -> int:
    """Number of ops without constants."""
    return sum(not isinstance(op, Const) for op in graph.ops)


def _options(name: str, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in filter(None, map(str.strip, text.split(","))):
        option, equals, value = item.partition("=")
        if not equals or option.strip() in found:
            what = "stands twice" if equals else "has no value"
            raise UsageError(f"option {option.strip()!r} {what}", where=f"pass {name}", hint="write name{option=value}")
        found[option.strip()] = value.strip()
    return found


def _checked(item: Pass, graph: Graph) -> Graph:
    """The result of one pass, with everything verified that it owes."""
    where = f"pass {item.spec()}"
    if graph.form not in item.NEEDS:
        needed = " or ".join(form.value for form in item.NEEDS)
        raise PassError(
            f"it needs the form {needed}, the graph is {graph.form.value}", where=where, hint="change the pass order"
        )
    try:
        result = item.run(graph)
        verify(result)
    except IRError as error:
        place = f"{error.where}: " if error.where else ""
        raise PassError(f"{place}{error.what}", where=where, hint=error.hint) from error
    form = item.GIVES or graph.form
    if result.form is not form:
        raise PassError(f"it left the form {result.form.value} behind, not {form.value}", where=where)
    before, after = _interface(graph), _interface(result)
    if before != after:
        raise PassError(f"it changed the interface of the graph from {before} to {after}", where=where)
    return result


def _interface(graph: Graph) -> str:
    inputs = ", ".join(f"{op.name}{list(op.shape)}" for op in graph.inputs)
    return f"({inputs}) -> ({', '.join(str(list(op.shape)) for op in graph.outputs)})"


STANDARD = Pipeline(
    (
        CommonSubexpressions(),
        FoldConstants(),
        SinkTransposes(),
        CanonicalizeViews(),
        RaiseSoftmax(),
        RaiseLayerNorm(),
        RaiseGelu(),
        RaiseAttention(),
        CanonicalizeViews(),
        FoldBatchNorm(),
        FoldConstants(),
        FoldScales(),
        CanonicalizeViews(),
        CommonSubexpressions(),
        DeadCode(),
    )
)
"""The clean-up of a float graph, as far as it is the same for every target."""
