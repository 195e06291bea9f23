"""`edgevit verify`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from edgevit.errors import BundleError

MARKS = {True: "[green]✓[/green]", False: "[red]✗[/red]", None: "[yellow]-[/yellow]"}


def verify(
    bundle: Annotated[Path, typer.Argument(help="A folder that `edgevit export` wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Check every hash of a bundle and run its golden inputs again."""
    from edgevit.export.verify import verify_bundle

    result = verify_bundle(bundle)
    if as_json:
        typer.echo(
            json.dumps(
                {"ok": result.ok, "target": result.manifest.target, "checks": [asdict(c) for c in result.checks]},
                indent=1,
            )
        )
    else:
        console = Console(highlight=False)
        for check in result.checks:
            console.print(f"  {MARKS[check.ok]} {check.name:26} {escape(check.detail)}", soft_wrap=True)
    if not result.ok:
        failed = ", ".join(check.name for check in result.checks if check.ok is False)
        raise BundleError(
            f"does not verify: {failed}", where=str(bundle), hint="export it again, or copy it again from its source"
        )
