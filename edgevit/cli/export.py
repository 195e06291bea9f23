"""`edgevit export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from edgevit.cli import options as o

Eval = Annotated[
    str | None,
    typer.Option("--eval", help="Evaluation images: a folder with a folder for each class, an .npz, or `embedded`."),
]
EvalLimit = Annotated[int | None, typer.Option("--eval-limit", help="Evaluate on at most so many images.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="The folder of the bundle. Default: out/MODEL-TARGET.")
]
Io = Annotated[str, typer.Option("--io", help="Element type of image and logits: uint8 or int8.")]


def export(
    model: o.Model = "embedded",
    target: o.Target = "coral",
    output: Output = None,
    weights: o.Weights = None,
    calib: o.Calib = None,
    calib_limit: o.CalibLimit = 256,
    evaluation: Eval = None,
    eval_limit: EvalLimit = None,
    config: o.Config = None,
    save_config: Annotated[
        Path | None, typer.Option("--save-config", help="Write the configuration in use to this file.")
    ] = None,
    bits: o.Bits = None,
    method: o.Method = None,
    io: Io = "uint8",
    input_size: o.InputSize = None,
    mean: o.Mean = None,
    std: o.Std = None,
    seed: o.Seed = 0,
    min_mapped: Annotated[
        float | None, typer.Option("--min-mapped", help="Fail (4) below this percentage of mapped ops.")
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option("--max-drop", help="Fail (5) above this loss of top-1, in points.")
    ] = None,
    min_sqnr: Annotated[
        float | None, typer.Option("--min-sqnr", help="Fail (5) below this SQNR of the logits, in dB.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing bundle; write it even if a gate fails.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Go through all stages on few images and write nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the path of the bundle.")] = False,
) -> None:
    """Export a model to a target, with its accuracy, its mapping and a report."""
    from edgevit.cli.monitor import TerminalMonitor
    from edgevit.errors import UsageError
    from edgevit.export import ExportOptions, check_options, export_bundle
    from edgevit.quant.config import write_config

    if io not in ("uint8", "int8"):
        raise UsageError(f"--io {io!r}", hint="uint8 or int8")
    size = o.parse_size(input_size)
    chosen = ExportOptions(
        model=model,
        target=target,
        output=output or default_output(model, target),
        weights=weights,
        calibration=calib,
        calibration_limit=calib_limit,
        evaluation=evaluation,
        evaluation_limit=eval_limit,
        input_size=size,
        preprocess=o.parse_preprocess(size, mean, std),
        config=o.quant_config(config, bits, method),
        io="uint8" if io == "uint8" else "int8",
        seed=seed,
        min_mapped=min_mapped,
        max_drop=max_drop,
        min_sqnr=min_sqnr,
        force=force,
        dry_run=dry_run,
    )
    check_options(chosen)
    if save_config is not None:
        write_config(chosen.config, save_config)
    monitor = TerminalMonitor(quiet=quiet or as_json)
    result = export_bundle(chosen, monitor)
    if as_json:
        typer.echo(
            json.dumps(
                {"bundle": result.path, "seconds": monitor.seconds, "report": result.report.model_dump(mode="json")},
                indent=1,
            )
        )
    elif quiet:
        if result.path:
            typer.echo(result.path)
    else:
        show(result)
    if result.failure is not None:
        raise result.failure


def default_output(model: str, target: str) -> Path:
    """``out/NAME-TARGET``, where the name is made of the model's by leaving out what a file name should not have."""
    name = Path(model.split(":")[-1].split("?")[0]).stem
    plain = "".join(c if c.isalnum() or c in "._-" else "_" for c in name).strip("._") or "model"
    return Path("out") / f"{plain}-{target}"


def show(result: Any) -> None:
    """The final summary and the list of files."""
    from rich.console import Console
    from rich.markup import escape

    from edgevit.report.terminal import print_summary

    console = Console(highlight=False)
    print_summary(result.report, console)
    if result.path:
        console.print(f"\n[bold]{escape(result.path)}[/bold]", soft_wrap=True)
        for name, size in result.files:
            console.print(f"  {name:20} {size / 1000:10,.1f} kB")
