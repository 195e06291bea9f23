"""The page as text: complete, the same each time, and with names from models inert."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from edgevit.errors import ToolNotFound
from edgevit.report import HTML, JSON, ExportReport, write_report
from edgevit.report.html import _script, render_html
from tests.report.factory import export_report
from tests.tools import REPO, requires

ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\" ' & {{ 7*7 }}"


def attacked(depth: int = 1) -> ExportReport:
    """A report in which every string is an attack, and the gate and the file names are too."""
    value = export_report(depth=depth, unmapped=5).model_dump(mode="json")

    def poison(item: Any, key: str = "") -> Any:
        if isinstance(item, dict):
            poisoned = {name: poison(entry, name) for name, entry in item.items()}
            return {ATTACK: ATTACK} if key in ("versions", "hashes") else poisoned
        if isinstance(item, list):
            return [poison(entry, key) for entry in item]
        fixed = ("sense", "kind", "sqnr_db", "local_sqnr_db", "verdict")
        return ATTACK if isinstance(item, str) and key not in fixed else item

    return ExportReport.model_validate(poison(value))


class Elements(HTMLParser):
    """Start tags, the attributes that load or run something, and the text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[tuple[str, str, str | None]] = []
        self.handlers: list[str] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [(tag, name, value) for name, value in attrs if name in ("src", "href", "srcset", "action")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] not in ("script", "style"):
            self.text.append(data)


@requires("report")
def test_the_page_has_plotly_once_and_loads_nothing() -> None:
    page = render_html(export_report(depth=2))
    elements = Elements(page)
    assert elements.tags.count("script") == 4
    assert page.count("* plotly.js v") == 1
    foreign = [load for load in elements.loads if not (load[2] or "").startswith(("#", "data:,"))]
    assert foreign == []
    assert "default-src 'none'" in page


@requires("report")
def test_names_are_inert() -> None:
    plain, hostile = Elements(render_html(export_report(depth=1, unmapped=5))), Elements(render_html(attacked()))
    assert hostile.handlers == []
    # The attack adds no element: what differs is only what the report has more or less of.
    assert set(hostile.tags) <= set(plain.tags) | {"code"}
    assert hostile.tags.count("script") == plain.tags.count("script")
    assert "img" not in hostile.tags
    assert ATTACK in "".join(hostile.text)


@requires("report")
def test_the_data_for_the_plots_cannot_leave_its_element() -> None:
    page = render_html(attacked())
    match = re.search(r'<script type="application/json" id="plots-data">(.*?)</script>', page, re.DOTALL)
    assert match is not None
    assert not set("<>&") & set(match[1])
    data = {figure["id"]: figure for figure in json.loads(match[1])}
    labels = data["plot-ledger"]["data"][0]["labels"]
    assert any("&lt;/script&gt;" in label for label in labels)
    assert not any("<" in label for label in labels)


@requires("report")
def test_equal_reports_give_equal_pages() -> None:
    assert render_html(export_report(depth=2)) == render_html(export_report(depth=2))


@requires("report")
def test_the_files_are_the_same_in_every_process(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys; from tests.report.factory import export_report; from edgevit.report import write_report;"
        "write_report(pathlib.Path(sys.argv[1]), export_report(depth=2))"
    )
    found = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(REPO), "TZ": f"UTC{seed}"}
        subprocess.run([sys.executable, "-c", program, str(folder)], cwd=REPO, env=environment, check=True)
        found.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()})
    assert set(found[0]) == {JSON, HTML}
    assert found[0] == found[1]


@requires("report")
def test_every_row_is_on_the_page_and_long_tables_are_folded() -> None:
    report = export_report(depth=10, unmapped=117)
    page = render_html(report)
    assert report.mapping is not None
    assert page.count("More than one subgraph is not supported") == report.mapping.total - report.mapping.mapped - 1
    assert '<details id="fold-ops">' in page
    assert '<details id="fold-worst">' not in page
    assert "Gates failed: ops mapped 35.45 %" in page


@requires("report")
def test_a_bare_report_is_a_page_too() -> None:
    bare = export_report(depth=1).model_copy(
        update={"accuracy": None, "sqnr": None, "mapping": None, "calibration": None}
        | dict.fromkeys(("gates", "fixes", "notes", "stages", "decisions", "passes"), ())
        | {"versions": {}, "hashes": {}}
    )
    elements = Elements(render_html(bare))
    assert "section" in elements.tags
    assert ("a", "href", "#mapping") not in elements.loads


@pytest.mark.parametrize(
    ("source", "inert"),
    [
        ('"</script>"', '"\\x3C/script>"'),
        ('"</SCRIPT >"', '"\\x3C/SCRIPT >"'),
        ('"<!-- "', '"\\x3C!-- "'),
        ("a<b", "a<b"),
    ],
)
def test_a_script_cannot_end_its_element(source: str, inert: str) -> None:
    assert _script(source) == inert


@pytest.mark.parametrize("missing", ["jinja2", "plotly"])
def test_without_its_packages_there_is_json_and_a_hint(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else found(name))
    report = export_report(depth=1)
    with pytest.raises(ToolNotFound, match=missing) as error:
        render_html(report)
    assert error.value.hint == "pip install 'edgevit[report]'"
    assert write_report(tmp_path, report) == [tmp_path / JSON]
    assert [path.name for path in tmp_path.iterdir()] == [JSON]
    assert ExportReport.model_validate_json((tmp_path / JSON).read_bytes()) == report
