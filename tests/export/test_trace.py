"""Which graph `inspect` shows for a pass that runs once, several times, or not at all."""

from __future__ import annotations

import pytest

from edgevit.errors import UsageError
from edgevit.export.trace import Step, Trace
from edgevit.ir.graph import Graph
from edgevit.ir.ops import Input, Relu
from edgevit.ir.types import TensorType


def graph(name: str) -> Graph:
    x = Input("x", type=TensorType((1, 2)))
    return Graph.of(name, [Relu(x)], inputs=[x])


STEPS = tuple(Step(name, name, graph(f"{i}-{name}"), 1, 1) for i, name in enumerate(("clean", "fold", "clean")))
TRACE = Trace(graph("start"), STEPS)


def test_without_a_pass_it_is_the_start() -> None:
    assert TRACE.graph().name == "start"


@pytest.mark.parametrize(
    ("after", "before", "occurrence", "name"),
    [
        ("fold", None, -1, "1-fold"),
        (None, "fold", -1, "0-clean"),
        ("clean", None, -1, "2-clean"),
        ("clean", None, 1, "0-clean"),
        ("clean", None, 2, "2-clean"),
        ("clean", None, -2, "0-clean"),
        (None, "clean", 1, "start"),
        (None, "clean", 2, "1-fold"),
        (None, "clean", -2, "start"),
    ],
)
def test_before_and_after(after: str | None, before: str | None, occurrence: int, name: str) -> None:
    assert TRACE.graph(after=after, before=before, occurrence=occurrence).name == name


@pytest.mark.parametrize("occurrence", [0, 3, -3])
def test_occurrences_that_there_are_not(occurrence: int) -> None:
    with pytest.raises(UsageError, match="runs 2 times"):
        TRACE.graph(after="clean", occurrence=occurrence)


def test_unknown_passes() -> None:
    with pytest.raises(UsageError, match="no pass 'fuld' runs") as caught:
        TRACE.graph(after="fuld")
    assert caught.value.hint == "did you mean 'fold'?"
    with pytest.raises(UsageError) as caught:
        TRACE.graph(before="xyz")
    assert caught.value.hint == "passes: clean, fold"
    with pytest.raises(UsageError, match="both"):
        TRACE.graph(after="fold", before="fold")
