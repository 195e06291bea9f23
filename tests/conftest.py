"""Fixtures and rules that hold for every test: needed tools (tests/tools.py), golden files, the tier markers."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import tools

Golden = Callable[[str, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--accept`` writes golden files instead of comparing with them."""
    parser.addoption("--accept", action="store_true", help="write tests/golden anew from what the tests produce")


def pytest_configure(config: pytest.Config) -> None:
    """A misspelt name in EDGEVIT_REQUIRE ends the run: it would otherwise claim nothing and guard nothing."""
    try:
        tools.claimed()
    except ValueError as error:
        raise pytest.UsageError(f"{tools.ENVIRONMENT_VARIABLE}: {error}") from error


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test a tier, so that ``-m pure`` selects the ones that need nothing."""
    for item in items:
        if item.get_closest_marker("tool") is None and item.get_closest_marker("device") is None:
            item.add_marker(pytest.mark.pure)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip or fail a test whose tools are missing before any of its fixtures is built."""
    for mark in item.iter_markers("tool"):
        tools.require(*mark.args)


@pytest.fixture(scope="session")
def repo() -> Path:
    """Root of the checkout."""
    return tools.REPO


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the CIFAR-10 archives and ``eer_rows.csv``; a test that asks for it needs the tool ``shared``."""
    tools.require("shared")
    return tools.SHARED / "data"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """``golden(name, text)``: the text has to equal ``tests/golden/<name>``, which only ``--accept`` changes."""
    folder = request.config.rootpath / "tests" / "golden"

    def check(name: str, text: str) -> None:
        path = folder / name
        if request.config.getoption("accept"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        if not path.is_file():
            pytest.fail(f"golden file tests/golden/{name} is missing\nhint: read the text, then pytest --accept", False)
        expected = path.read_text(encoding="utf-8")
        if text != expected:
            lines = expected.splitlines(keepends=True), text.splitlines(keepends=True)
            diff = "".join(difflib.unified_diff(*lines, f"tests/golden/{name}", "produced"))
            pytest.fail(f"{diff}\nhint: pytest --accept, if the change is meant", False)

    return check
