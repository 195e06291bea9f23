"""The commands, and what becomes of their errors."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from edgevit import __version__
from edgevit.cli.eer import eer
from edgevit.cli.export import export
from edgevit.cli.inspect import inspect
from edgevit.cli.surroundings import doctor, targets
from edgevit.cli.verify import verify
from edgevit.errors import EdgevitError, UsageError

INTERRUPTED = 130

# Newer releases of typer carry their own copy of click, so that the class is reached by what both kinds export.
WrongUsage: type[Any] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="edgevit",
    help="Compressed Vision Transformers on real edge hardware.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (export, inspect, verify, eer, targets, doctor):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgevit {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Compressed Vision Transformers on real edge hardware."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the code that `edgevit.errors` gives for what happened."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        result = app(args=None if arguments is None else list(arguments), prog_name="edgevit", standalone_mode=False)
    except EdgevitError as error:
        typer.echo(f"error: {error}", err=True)
        return error.exit_code
    except WrongUsage as error:
        error.show()
        return UsageError.exit_code
    except (KeyboardInterrupt, typer.Abort):
        result = INTERRUPTED
    except Exception:
        traceback.print_exc()
        typer.echo("internal error: this is a defect of edgevit; please report it with the lines above", err=True)
        return 1
    # Releases of typer differ in whether Ctrl-C comes back as this code or as an exception.
    if result == INTERRUPTED:
        typer.echo("interrupted: nothing was written", err=True)
    return int(result or 0)
