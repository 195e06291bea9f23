"""What tests of passes share: graphs from text, and proof that a pass keeps the meaning."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import settings

from edgevit.ir.graph import Graph
from edgevit.ir.interp import run
from edgevit.ir.ops import Const
from edgevit.ir.parse import parse_graph
from edgevit.ir.text import print_graph
from edgevit.ir.types import Array, DType
from edgevit.ir.verify import verify
from edgevit.passes.base import Pass

SAMPLES = 2
SEARCH = settings(max_examples=80, deadline=None)
"""For property tests: a loaded machine is no failure."""


def graph_of(text: str, **arrays: Array) -> Graph:
    """The verified graph of a text form without its header; ``@name`` in it names the keyword argument ``name``."""
    graph = parse_graph(f"graph @test form=float\n{text.strip()}\n", arrays)
    verify(graph)
    return graph


def text_of(graph: Graph) -> str:
    """The text form without header and indentation, constants of more than 8 elements shortened to ``@``."""
    lines = print_graph(graph).splitlines()[1:]
    return "\n".join(re.sub(r"@[0-9a-f]{12}", "@", line.strip()) for line in lines)


def expect(graph: Graph, text: str) -> None:
    """Fail unless the text of ``graph`` is ``text``, indentation aside."""
    assert text_of(graph).splitlines() == [line.strip() for line in text.strip().splitlines()]


def names(graph: Graph) -> list[str]:
    """The ops in execution order, without inputs and constants."""
    return [op.NAME for op in graph.ops if op.NAME not in ("input", "const")]


def constants(graph: Graph) -> list[Array]:
    """The arrays of the constants in execution order."""
    return [op.data for op in graph.ops if isinstance(op, Const)]


def random_inputs(graph: Graph, seed: int = 0) -> list[Array]:
    """Standard normal numbers for each float input."""
    generator = np.random.default_rng(seed)
    assert all(op.type.dtype is DType.F32 for op in graph.inputs)
    return [generator.standard_normal((SAMPLES, *op.shape)).astype(np.float32) for op in graph.inputs]


def outputs(graph: Graph, seed: int = 0) -> list[Array]:
    """The outputs of the graph on random inputs."""
    return run(graph, random_inputs(graph, seed))


def check_pass(item: Pass, graph: Graph, *, tolerance: float = 1e-5, seed: int = 0) -> Graph:
    """Run the pass and return its result, which is valid, has the same meaning, and which a second run does not change.

    ``tolerance`` is absolute and relative to the largest output.
    """
    before = print_graph(graph)
    result = item.run(graph)
    verify(result)
    assert print_graph(graph) == before, "the pass changed its operand"
    assert print_graph(item.run(result)) == print_graph(result), "a second run changes the result again"
    for was, now in zip(outputs(graph, seed), outputs(result, seed), strict=True):
        assert was.shape == now.shape
        limit = tolerance * max(1.0, float(np.abs(was).max(initial=0)))
        np.testing.assert_allclose(now.astype(np.float64), was.astype(np.float64), rtol=0, atol=limit)
    return result


def reasons(item: Pass, graph: Graph) -> list[str]:
    """Why rules of the pass did not fire on ``graph``."""
    return [rejection.reason for rejection in item.why(graph)]
