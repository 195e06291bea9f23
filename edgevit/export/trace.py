"""A model's graph after every pass on its way to a target, for `edgevit inspect`."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edgevit.backend import load_backend
from edgevit.errors import UsageError
from edgevit.export.compile import compile_model
from edgevit.export.options import ExportOptions
from edgevit.frontend import load_model, lower
from edgevit.ir.graph import Graph
from edgevit.passes.base import Rejection
from edgevit.passes.pipeline import Pipeline
from edgevit.quant.config import QuantConfig

QUANTIZED_STEPS = ("prepare", "calibrate", "quantize", "lower")
"""What follows on the passes when the model is quantized as well."""


@dataclass(frozen=True, eq=False)
class Step:
    """One pass: its spec, its result, how many ops there were, and what it left alone."""

    name: str
    spec: str
    graph: Graph
    ops_before: int
    ops_after: int
    rejections: tuple[Rejection, ...] = ()


@dataclass(frozen=True, eq=False)
class Trace:
    """The graph from the frontend and after every pass."""

    start: Graph
    steps: tuple[Step, ...]

    def graph(self, *, after: str | None = None, before: str | None = None, occurrence: int = -1) -> Graph:
        """The graph after or before a pass, by default the one from the frontend.

        Raises UsageError for a pass that does not run, or not as often as ``occurrence`` says (1 the first, -1 the
        last).
        """
        if after is not None and before is not None:
            raise UsageError("both --after and --before", hint="give one of them")
        name = after or before
        if name is None:
            return self.start
        places = [i for i, step in enumerate(self.steps) if step.name == name]
        if not places:
            known = list(dict.fromkeys(step.name for step in self.steps))
            near = difflib.get_close_matches(name, known, n=1)
            raise UsageError(
                f"no pass {name!r} runs", hint=f"did you mean {near[0]!r}?" if near else f"passes: {', '.join(known)}"
            )
        if occurrence == 0 or not -len(places) <= (occurrence if occurrence < 0 else occurrence - 1) < len(places):
            raise UsageError(
                f"--occurrence {occurrence}: {name!r} runs {len(places)} times", hint="1 is the first, -1 the last"
            )
        place = places[occurrence if occurrence < 0 else occurrence - 1]
        if after is not None:
            return self.steps[place].graph
        return self.start if place == 0 else self.steps[place - 1].graph


def trace(
    model: str,
    target: str,
    *,
    config: QuantConfig,
    weights: str | None = None,
    calibration: str | None = None,
    input_size: tuple[int, int] | None = None,
    seed: int = 0,
    explain: bool = False,
    quantized: bool = False,
) -> Trace:
    """Run the float passes of a target, with its default forms, and keep every graph.

    With ``quantized`` the whole compilation runs on a few images, with the forms that they decide, and the quantized
    and the target form come last.
    """
    steps: list[Step] = []
    if quantized:
        options = ExportOptions(
            model=model,
            target=target,
            weights=weights,
            calibration=calibration,
            config=config,
            input_size=input_size,
            seed=seed,
            dry_run=True,
        )
        compiled = compile_model(options, Silent())
        prepared, lowered = compiled.prepared.graph, compiled.lowered.graph
        graphs = zip(QUANTIZED_STEPS, (prepared, compiled.calibrated, compiled.quantized, lowered), strict=True)
        before = len(compiled.reference.ops)
        for name, graph in graphs:
            steps.append(Step(name, name, graph, before, len(graph.ops)))
            before = len(graph.ops)
        return Trace(compiled.reference, tuple(steps))
    start = lower(load_model(model, weights=weights, input_size=input_size, seed=seed))
    pipeline = Pipeline(tuple(load_backend(target).passes(config)))
    pipeline.run(
        start,
        on_pass=lambda r, g: steps.append(Step(r.name, r.spec, g, r.ops_before, r.ops_after, r.rejections)),
        explain=explain,
    )
    return Trace(start, tuple(steps))


class Silent:
    """A monitor that tells nobody."""

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Callable[[int, int], None]]:
        yield lambda done, total: None

    def note(self, text: str) -> None:
        """Nothing is shown; notes are in the result."""
