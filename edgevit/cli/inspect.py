"""`edgevit inspect`: the IR of a model before or after any pass, and why rewrites did not fire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgevit.cli import options as o

if TYPE_CHECKING:
    from edgevit.export.trace import Trace


def inspect(
    model: o.Model = "embedded",
    target: o.Target = "coral",
    after: Annotated[
        str | None,
        typer.Option("--after", help="Show the IR after this pass, `calibrate`, `quantize` or `lower`."),
    ] = None,
    before: Annotated[str | None, typer.Option("--before", help="Show the IR before this pass.")] = None,
    occurrence: Annotated[
        int,
        typer.Option("--occurrence", help="Which one, where a pass runs several times: 1 is the first, -1 the last."),
    ] = -1,
    why: Annotated[
        bool, typer.Option("--why", help="Say for every pass which rewrites did not fire, and why.")
    ] = False,
    passes: Annotated[
        bool, typer.Option("--passes", help="List the passes in order, with the number of ops before and after.")
    ] = False,
    weights: o.Weights = None,
    calib: o.Calib = None,
    config: o.Config = None,
    input_size: o.InputSize = None,
    seed: o.Seed = 0,
) -> None:
    """Show the IR of a model as text (without --after or --before: as it comes from the frontend)."""
    from edgevit.export.trace import QUANTIZED_STEPS, trace
    from edgevit.ir.text import print_graph

    found = trace(
        model,
        target,
        weights=weights,
        calibration=calib,
        config=o.quant_config(config, None, None),
        input_size=o.parse_size(input_size),
        seed=seed,
        explain=why,
        quantized=after in QUANTIZED_STEPS or before in QUANTIZED_STEPS,
    )
    if why:
        _show_rejections(found)
    elif passes:
        _show_passes(found)
    else:
        typer.echo(print_graph(found.graph(after=after, before=before, occurrence=occurrence)), nl=False)


def _show_rejections(found: Trace) -> None:
    console = Console(highlight=False)
    count = 0
    for step in found.steps:
        for rejection in step.rejections:
            count += 1
            place, reason = escape(rejection.loc or "?"), escape(rejection.reason)
            console.print(
                f"[bold]{step.name}[/bold] {place}: {rejection.op}: {reason} [dim]({rejection.rule})[/dim]",
                soft_wrap=True,
            )
    console.print(f"{count} rewrites did not fire")


def _show_passes(found: Trace) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("pass")
    table.add_column("ops before", justify="right")
    table.add_column("after", justify="right")
    for step in found.steps:
        table.add_row(step.spec, str(step.ops_before), str(step.ops_after))
    Console(highlight=False).print(table)
