"""`edgevit targets` and `edgevit doctor`: what there is on this machine, and how to get the rest."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import platform
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from edgevit import __version__

JsonFlag = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

PACKAGES = (
    ("torch", "capture PyTorch models", "pip install torch==2.13.0 (this version is the CPU build)"),
    ("timm", "models by name, timm:NAME", "pip install --no-deps timm==1.0.31 and 'edgevit[timm-deps]'"),
    ("ai_edge_litert", "write and run TFLite", "pip install 'edgevit[coral]'"),
    ("jinja2", "HTML reports", "pip install 'edgevit[report]'"),
    ("plotly", "plots in HTML reports", "pip install 'edgevit[report]'"),
)


def targets(as_json: JsonFlag = False) -> None:
    """List the targets that can be exported to, and the tools that they use."""
    from edgevit.backend import backend_names, load_backend

    backends = [load_backend(name) for name in backend_names()]
    if as_json:
        listing = [
            {"name": b.name, "description": b.description, "tools": [vars(t) for t in b.tools()]} for b in backends
        ]
        typer.echo(json.dumps(listing, indent=1))
        return
    console = Console(highlight=False)
    for backend in backends:
        console.print(f"[bold]{backend.name}[/bold]  {backend.description}", soft_wrap=True)
        for tool in backend.tools():
            state = "[green]found[/green]" if tool.found else f"[yellow]missing[/yellow]: {escape(tool.remedy)}"
            console.print(f"    {tool.name:18} {tool.purpose}: {state}", soft_wrap=True)


def doctor(as_json: JsonFlag = False) -> None:
    """Say what is installed, what is missing, and how to get it."""
    from edgevit.backend import backend_names, load_backend

    rows = [(name, purpose, _version(name), remedy) for name, purpose, remedy in PACKAGES]
    for name in backend_names():
        packages = {package for package, _, _ in PACKAGES}
        rows += [
            (t.name, f"{name}: {t.purpose}", t.found, t.remedy)
            for t in load_backend(name).tools()
            if t.name not in packages
        ]
    if as_json:
        found = [{"name": n, "purpose": p, "found": f, "remedy": r} for n, p, f, r in rows]
        typer.echo(
            json.dumps(
                {
                    "edgevit": __version__,
                    "python": sys.version.split()[0],
                    "machine": platform.machine(),
                    "tools": found,
                },
                indent=1,
            )
        )
        return
    console = Console(highlight=False)
    console.print(f"edgevit {__version__}, Python {sys.version.split()[0]}, {platform.system()} {platform.machine()}")
    for name, purpose, version, remedy in rows:
        mark = "[green]✓[/green]" if version else "[yellow]-[/yellow]"
        # A remedy is to be copied: it stands on a line of its own, which is never broken.
        how = "" if version else f"\n      {escape(remedy)}"
        console.print(f"  {mark} {f'{name} {version}':28} {purpose}{how}", soft_wrap=True)


def _version(module: str) -> str:
    """The installed version of a package, found without importing it; empty where it is not installed."""
    if importlib.util.find_spec(module) is None:
        return ""
    try:
        return importlib.metadata.version(module.replace("_", "-"))
    except importlib.metadata.PackageNotFoundError:
        return "found"
