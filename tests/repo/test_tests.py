"""Rules for the tests themselves: a tool is asked for in one way, so that EDGEVIT_REQUIRE sees every skip."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ADVICE = "use @requires(...) or require(...) of tests/tools.py, which EDGEVIT_REQUIRE can turn into a failure"


BYPASSES = {"pytest.importorskip", "pytest.skip", "pytest.mark.skip", "pytest.mark.skipif"}


def unguarded_skips(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of every skip, conditional import or unnamed tool marker in ``source``."""
    tree = ast.parse(source)
    calls = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            text = ast.unparse(node)
            if text in BYPASSES or (text == "pytest.mark.tool" and id(node) not in calls):
                yield node.lineno, text


SOURCE = """\
torch = pytest.importorskip("torch")
pytestmark = pytest.mark.tool
@pytest.mark.tool("cc")
def test_compiles(): pass
"""


def test_the_scan_finds_each_way_round() -> None:
    assert sorted(unguarded_skips(SOURCE)) == [(1, "pytest.importorskip"), (2, "pytest.mark.tool")]


def test_no_test_skips_behind_the_back_of_edgevit_require(repo: Path) -> None:
    found = [
        f"{path.relative_to(repo)}:{line}: {text}"
        for path in sorted((repo / "tests").rglob("*.py"))
        if path != repo / "tests" / "tools.py"
        for line, text in unguarded_skips(path.read_text(encoding="utf-8"))
    ]
    if found:
        pytest.fail("\n".join([*found, f"hint: {ADVICE}"]), pytrace=False)
