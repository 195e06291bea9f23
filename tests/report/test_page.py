"""The page in a real browser: quiet, complete, sortable, readable on a phone, in the dark and on paper."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edgevit.report import ExportReport
from edgevit.report.html import render_html
from tests.report.browser import Page, browser
from tests.report.factory import export_report
from tests.report.test_html import ATTACK, attacked
from tests.tools import requires

pytestmark = requires("chromium", "report")

UNMAPPED = 117
POINTS = """Object.fromEntries([...document.querySelectorAll('.plot')].map((plot) => [plot.id, plot.data.map(
    (trace) => (trace.labels ?? trace.z ?? trace.x).length)]))"""
COLUMN = "[...document.querySelectorAll('#{} tbody tr:not([hidden])')].map((row) => row.cells[{}].textContent)"
SORT = "document.querySelectorAll('#{} th button')[{}].click()"


@pytest.fixture(scope="module")
def report() -> ExportReport:
    return export_report(unmapped=UNMAPPED)


@pytest.fixture(scope="module")
def page(report: ExportReport, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "report.html").write_text(render_html(report), encoding="utf-8")
    (folder / "attacked.html").write_text(render_html(attacked()), encoding="utf-8")
    with browser(folder / "profile") as opened:
        opened.look(1280)
        opened.open(folder / "report.html")
        yield opened


def complaints(page: Page) -> list[object]:
    """What the page wrote to the console, threw, or asked for beside itself."""
    said = [*page.named("Runtime.exceptionThrown"), *page.named("Runtime.consoleAPICalled")]
    logged = page.named("Log.entryAdded")
    urls = [event["request"]["url"] for event in page.named("Network.requestWillBeSent")]
    return [*said, *logged, *(url for url in urls[1:] if not url.startswith("data:"))]


def test_it_is_quiet_and_asks_for_nothing(page: Page) -> None:
    assert page.named("Network.requestWillBeSent")[0]["request"]["url"].endswith("report.html")
    assert complaints(page) == []


def test_each_plot_has_its_points(page: Page, report: ExportReport) -> None:
    assert report.mapping is not None
    assert report.sqnr is not None
    ops, operators = report.mapping.total, len(report.mapping.counts())
    modules = page.run("document.querySelector('#plot-ledger').data[0].labels.length")
    assert modules > len(report.size.rows)
    assert page.run(POINTS) == {
        "plot-accuracy": [1, 1, 1],
        "plot-confusion": [10],
        "plot-sqnr": [len(report.sqnr.rows), len(report.sqnr.rows), len(report.sqnr.worst)],
        "plot-size": [1] * 5,
        "plot-ledger": [modules],
        "plot-operators": [operators, operators],
        "plot-strip": [UNMAPPED, ops - UNMAPPED],
    }
    assert page.run("document.querySelectorAll('#plot-strip .point').length") == ops
    assert page.run("document.querySelectorAll('#plot-sqnr .scatterlayer .trace').length") == 3
    assert page.run("document.querySelectorAll('#plot-ledger .slice').length") > 20


def test_a_click_on_a_heading_sorts_and_another_reverses(page: Page) -> None:
    page.run("document.getElementById('fold-waterfall').open = true")
    page.run(SORT.format("waterfall", 3))
    values = page.run(COLUMN.format("waterfall", 3))
    numbers = [float(value.removesuffix(" dB")) for value in values if value != "exact"]
    assert numbers == sorted(numbers)
    assert values.index("exact") == len(values) - 1
    assert page.run("document.querySelectorAll('#waterfall th')[3].getAttribute('aria-sort')") == "ascending"
    page.run(SORT.format("waterfall", 3))
    assert page.run(COLUMN.format("waterfall", 3))[0] == "exact"
    page.run(SORT.format("waterfall", 4))
    assert page.run(COLUMN.format("waterfall", 4))[-1] == "—"
    page.run(SORT.format("waterfall", 1))
    names = [name for name in page.run(COLUMN.format("waterfall", 1)) if name.startswith("blocks.")]
    blocks = [int(name.split(".")[1]) for name in names]
    assert blocks == sorted(blocks)
    assert len(set(blocks)) == 10


def test_words_filter_the_rows(page: Page, report: ExportReport) -> None:
    assert report.mapping is not None
    box = "document.getElementById('filter-ops')"
    page.run(f"{box}.value = 'softmax BLOCKS.3.attn'; {box}.dispatchEvent(new Event('input'))")
    wanted = [r for r in report.mapping.rows if r.operator == "SOFTMAX" and r.loc.startswith("blocks.3.attn")]
    assert len(wanted) == 3
    assert page.run(COLUMN.format("ops", 0)) == [str(row.index) for row in wanted]
    assert page.run("document.querySelector('output[for=filter-ops]').textContent") == "3 of 330 rows"
    page.run(f"{box}.value = ''; {box}.dispatchEvent(new Event('input'))")
    assert len(page.run(COLUMN.format("ops", 0))) == report.mapping.total


def test_controls_and_tables_are_labelled(page: Page) -> None:
    assert page.run("[...document.querySelectorAll('input')].filter((input) => input.labels.length !== 1).length") == 0
    assert page.run("[...document.querySelectorAll('thead th')].filter((th) => th.scope !== 'col').length") == 0
    assert page.run("document.documentElement.lang") == "en"
    assert page.run("document.querySelectorAll('.plot').length") == page.run(
        "document.querySelectorAll('figure > figcaption').length"
    )
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    regions = [node["name"]["value"] for node in nodes if node.get("role", {}).get("value") == "region"]
    assert {"Worst layers", "Gates", "Passes in order"} <= set(regions)
    assert "" not in regions


CONTRAST = """(() => {
  const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = (text) => { const [r, g, b] = text.match(/[0-9.]+/g).map(Number).map(channel);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (element) => { for (; element; element = element.parentElement) {
    const colour = getComputedStyle(element).backgroundColor; if (!colour.endsWith(', 0)')) return colour; } };
  const worst = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.getClientRects().length || element.closest('svg, script, style')) continue;
    const a = light(getComputedStyle(element).color), b = light(behind(element));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) worst.push([element.tagName, element.className, ratio]);
  }
  return worst;
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(page: Page, scheme: str) -> None:
    """At least 4.5 to 1, as WCAG 2.2 asks at level AA."""
    page.look(1280, scheme=scheme)
    assert page.run(CONTRAST) == []
    page.look(1280)


def test_the_plots_follow_the_colour_scheme(page: Page) -> None:
    line = "document.querySelector('#plot-sqnr').data.find((trace) => trace.line).line.color"
    light = page.run(line)
    page.look(1280, scheme="dark")
    dark = page.run(line)
    page.look(1280)
    assert light == "#0b63b5"
    assert dark == "#5cb0f5"


@pytest.mark.parametrize("width", [380, 1280])
def test_it_fits_the_width(page: Page, width: int) -> None:
    page.look(width)
    assert page.run("document.documentElement.scrollWidth") <= width
    wide = f"[...document.querySelectorAll('.plot .main-svg')].filter((e) => e.clientWidth > {width}).length"
    assert page.run(wide) == 0
    page.look(1280)


def test_it_prints_in_light_colours_on_the_width_of_the_paper(page: Page) -> None:
    page.look(1280, scheme="dark")
    page.run(
        "addEventListener('beforeprint', () => { window.printed = [...document.querySelectorAll('.plot .main-svg')]"
        ".map((svg) => Number(svg.getAttribute('width'))).concat(getComputedStyle(document.body).backgroundColor) })"
    )
    assert page.pdf().startswith(b"%PDF")
    *widths, background = page.run("window.printed")
    assert set(widths) == {680}
    assert background == "rgb(255, 255, 255)"
    page.look(1280)


def test_names_from_a_model_do_nothing_here_either(page: Page, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = next(path for path in tmp_path_factory.getbasetemp().glob("page*") if (path / "attacked.html").exists())
    page.open(folder / "attacked.html")
    assert complaints(page) == []
    assert page.named("Page.javascriptDialogOpening") == []
    assert page.run("document.querySelectorAll('img, .plot a, .hoverlayer a').length") == 0
    page.run("Plotly.Fx.hover('plot-strip', [{curveNumber: 0, pointNumber: 1}])")
    hover = page.run("document.querySelector('#plot-strip .hoverlayer').textContent")
    assert ATTACK[:20] in hover
    assert "alert(2)" in hover
    assert page.run("document.querySelectorAll('script').length") == 4
