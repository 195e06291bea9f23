"""The tools that a test may need besides the package's dependencies: how to find each, and what to say without it.

A test asks with ``@requires("litert", "chromium")``. Without one of them it is skipped, with the remedy as the reason;
when the environment variable ``EDGEVIT_REQUIRE`` (names, separated by commas) claims that tool, it fails instead, so
that a continuous integration which lost a tool does not pass by skipping. ``conftest.py`` applies both.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
"""Root of the checkout."""

SHARED = Path(os.environ.get("EDGEVIT_SHARED", REPO.parent / "shared"))
"""Folder of the data that is not part of the repository: ``EDGEVIT_SHARED``, or ``shared`` beside the checkout."""

ENVIRONMENT_VARIABLE = "EDGEVIT_REQUIRE"


@dataclass(frozen=True)
class Tool:
    """``probe`` says what is missing, or returns None when the tool can be used; ``remedy`` is what to do about it."""

    name: str
    probe: Callable[[], str | None]
    remedy: str


def modules(*names: str) -> Callable[[], str | None]:
    """Probe for importable modules; it looks for them without importing them."""

    def probe() -> str | None:
        missing = [name for name in names if importlib.util.find_spec(name) is None]
        return f"no module {', '.join(missing)}" if missing else None

    return probe


def programs(*names: str) -> Callable[[], str | None]:
    """Probe for the first of several equivalent programs on PATH."""
    return lambda: None if any(map(shutil.which, names)) else f"no {' or '.join(names)} on PATH"


def files(*paths: Path) -> Callable[[], str | None]:
    """Probe for files that have to exist."""

    def probe() -> str | None:
        missing = [str(path) for path in paths if not path.is_file()]
        return f"no file {', '.join(missing)}" if missing else None

    return probe


def checkout() -> str | None:
    """Probe for git and a checkout that it can read; a source archive has none."""
    if shutil.which("git") is None:
        return "no git on PATH"
    inside = subprocess.run(["git", "rev-parse", "--git-dir"], cwd=REPO, capture_output=True).returncode == 0
    return None if inside else f"{REPO} is no git checkout"


def package_index() -> str | None:
    """Probe for an index that pip can install from: it resolves one tiny package and installs nothing."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps"]
    command += ["--no-cache-dir", "--retries", "0", "--timeout", "15", "iniconfig"]
    return None if subprocess.run(command, capture_output=True).returncode == 0 else "pip reaches no package index"


TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool("cc", programs("cc"), "install a C compiler (apt-get install gcc libc6-dev)"),
        Tool("chromium", programs("chromium", "chromium-browser", "google-chrome"), "apt-get install chromium"),
        Tool("git", checkout, "install git and clone the repository"),
        Tool("litert", modules("ai_edge_litert"), "pip install -c constraints.txt -e '.[coral]'"),
        Tool("pypi", package_index, "give pip a package index that it can reach (pip config list)"),
        Tool("report", modules("jinja2", "plotly"), "pip install -c constraints.txt -e '.[report]'"),
        Tool(
            "shared",
            files(SHARED / "data" / "cifar10-test.npz", SHARED / "data" / "cifar10-train.npz"),
            "put the shared folder beside the checkout, or name it in EDGEVIT_SHARED",
        ),
        Tool("timm", modules("timm"), "make install (timm goes in with --no-deps, see pyproject.toml)"),
        Tool("torch", modules("torch"), "make install (torch goes in first, by the version in constraints.txt)"),
    )
}


@cache
def problem(name: str) -> str | None:
    """What keeps the tool from being used, or None; each tool is probed once in a process."""
    return TOOLS[name].probe()


def check_names(names: tuple[str, ...]) -> None:
    """Raise ``ValueError`` for a tool that is not registered here."""
    unknown = sorted(set(names) - set(TOOLS))
    if unknown:
        raise ValueError(f"unknown tool {', '.join(unknown)}; tests/tools.py knows {', '.join(TOOLS)}")


def claimed() -> frozenset[str]:
    """The tools that ``EDGEVIT_REQUIRE`` says this machine has; raises ``ValueError`` for an unknown one."""
    names = tuple(filter(None, map(str.strip, os.environ.get(ENVIRONMENT_VARIABLE, "").split(","))))
    check_names(names)
    return frozenset(names)


def requires(*names: str) -> pytest.MarkDecorator:
    """Mark a test, a class or (as ``pytestmark``) a module as needing these tools; it gets the marker ``tool`` too."""
    if not names:
        raise ValueError("requires() without a tool; name those that the test needs")
    check_names(names)
    return pytest.mark.tool(*names)


def require(*names: str) -> None:
    """Skip the running test, or fail it where the tool is claimed, unless all these tools can be used."""
    check_names(names)
    for name in names:
        what = problem(name)
        if what is None:
            continue
        if name in claimed():
            pytest.fail(f"{ENVIRONMENT_VARIABLE} claims {name}: {what}\nhint: {TOOLS[name].remedy}", pytrace=False)
        pytest.skip(f"{name}: {what}; {TOOLS[name].remedy}")
