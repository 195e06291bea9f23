"""`edgevit eer`: exported models by accuracy and Efficient Error Rate, and the survey's tables, audited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgevit.errors import UsageError

if TYPE_CHECKING:
    from edgevit.report.eer import EerReport, SurveyReport


def eer(
    bundles: Annotated[list[Path] | None, typer.Argument(help="Folders that `edgevit export` wrote.")] = None,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", help="What counts: params,flops,bits,size (the default), or some of them."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", help="What counts how much, in sum 1: flops=0.3,size=0.7 (Eq. 28).")
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option("--reference", help="The bundle that has 100 %. Default: ViT-B/16 by the survey's figures."),
    ] = None,
    survey: Annotated[
        bool,
        typer.Option("--survey", help="Put the survey's rows behind; without bundles, recompute all 172 of them."),
    ] = False,
    allow_mixed: Annotated[
        bool, typer.Option("--allow-mixed", help="Let one rate hold measured, estimated and published figures.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the rows as CSV.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with charts and tables here.")] = None,
) -> None:
    """Compare exported models by Top-1 and EER, and mark the Pareto front."""
    from edgevit.files import write_whole
    from edgevit.metrics.eer import SURVEY_METRICS, parse_metrics, parse_weights, uniform
    from edgevit.report.eer import audit, compare
    from edgevit.report.eer_source import read_candidate, read_candidates

    if as_json and as_csv:
        raise UsageError("--json and --csv", hint="choose one; --html may go with either")
    report: EerReport | SurveyReport
    if not bundles:
        if not survey:
            raise UsageError("no bundles", hint="name folders that `edgevit export` wrote, or give --survey alone")
        if unused := _given(metrics=metrics, weights=weights, reference=reference):
            hint = "the survey's rows have metrics and a reference of their own; name a bundle to change them"
            raise UsageError(f"{unused} without a bundle", hint=hint)
        report = audit()
    else:
        chosen = None if metrics is None else parse_metrics(metrics)
        shares = uniform(chosen or SURVEY_METRICS) if weights is None else parse_weights(weights, chosen)
        base = None if reference is None else read_candidate(reference, reference.resolve().name)
        candidates = read_candidates(bundles)
        report = compare(candidates, shares, reference=base, survey=survey, allow_mixed=allow_mixed)
    if html is not None:
        write_whole(html, _page(report))
    _print(report, as_json=as_json, as_csv=as_csv)
    if html is not None:
        typer.echo(f"wrote {html}", err=True)


def _given(**options: object) -> str:
    return ", ".join(f"--{name}" for name, value in options.items() if value is not None)


def _page(report: EerReport | SurveyReport) -> str:
    from edgevit.report.eer import EerReport
    from edgevit.report.eer_page import render_eer, render_survey

    return render_eer(report) if isinstance(report, EerReport) else render_survey(report)


def _print(report: EerReport | SurveyReport, *, as_json: bool, as_csv: bool) -> None:
    from rich.console import Console

    from edgevit.report.eer import EerReport, to_csv
    from edgevit.report.eer_terminal import print_eer, print_survey

    if as_json:
        typer.echo(json.dumps(report.model_dump(mode="json"), indent=1))
    elif as_csv:
        typer.echo(to_csv(report), nl=False)
    elif isinstance(report, EerReport):
        print_eer(report, Console(highlight=False))
    else:
        print_survey(report, Console(highlight=False))
