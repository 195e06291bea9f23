"""The pages in a real browser: quiet, with every point, sortable, and names from bundles inert."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgevit.metrics.eer import SURVEY_METRICS, uniform
from edgevit.report.eer import audit, compare
from edgevit.report.eer_page import eer_plot, render_eer, render_survey
from tests.report.browser import Page, browser
from tests.report.eer_factory import candidate
from tests.report.test_html import ATTACK, Elements
from tests.report.test_page import COLUMN, CONTRAST, POINTS, SORT, complaints
from tests.tools import requires

MODELS = [candidate("small", 5.0, 80.0), candidate("large", 50.0, 85.0), candidate("blind", 9.0, None)]
WEIGHTS = {"params": 0.4, "flops": 0.3, "bits": 0.2, "size": 0.1}


def write(folder: Path) -> None:
    hostile = [candidate(ATTACK, 5.0, 80.0), candidate("plain", 6.0, 81.0)]
    pages = {
        "eer": render_eer(compare(MODELS, WEIGHTS, survey=True)),
        "attacked": render_eer(compare(hostile, uniform(SURVEY_METRICS))),
        "survey": render_survey(audit()),
    }
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("eer")
    write(made)
    return made


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[Page]:
    with browser(folder / "profile") as opened:
        opened.look(1280)
        yield opened


def test_the_chart_has_the_surveys_rows_behind_and_the_front_and_the_models_before() -> None:
    report = compare(MODELS, WEIGHTS, survey=True)
    plot = eer_plot(report)
    *behind, front, models = plot.data
    assert sum(len(trace["x"]) for trace in behind) == len(report.published) == 81
    assert all("(published)" in trace["name"] for trace in behind)
    assert models["name"] == "your models (measured)"
    assert models["y"] == [80.0, 85.0]
    assert models["x"] == [round(row.eer, 4) for row in report.rows if row.top1 is not None]
    assert models["error_y"]["array"] == models["error_y"]["arrayminus"] == [1.0, 1.0]
    assert front["y"] == [80.0, 85.0]
    assert "On the Pareto front: small, large." in plot.caption
    mvit = next(trace for trace in behind if 218.0 in trace["marker"]["size"])
    assert mvit["marker"]["sizemode"] == "area"


def test_names_reach_the_chart_as_letters() -> None:
    plot = eer_plot(compare([candidate(ATTACK, 5.0, 80.0)], uniform(SURVEY_METRICS)))
    assert not any("<" in text for text in plot.data[-1]["text"])
    assert not any("<" in text for texts in plot.data[-1]["customdata"] for text in texts)


@requires("report")
def test_names_are_inert_as_text() -> None:
    report = compare([candidate(ATTACK, 5.0, 80.0)], uniform(SURVEY_METRICS))
    elements = Elements(render_eer(report))
    assert elements.handlers == []
    assert "img" not in elements.tags
    assert elements.tags.count("script") == 4
    assert ATTACK in "".join(elements.text)
    assert [load for load in elements.loads if not (load[2] or "").startswith(("#", "data:,"))] == []


@requires("report")
def test_equal_reports_give_equal_pages() -> None:
    assert render_survey(audit()) == render_survey(audit())


@requires("chromium", "report")
@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("eer", {"plot-eer": [39, 23, 18, 1, 2, 2]}),
        ("survey", {"plot-survey-cost": [40, 23, 23, 1], "plot-survey-bits": [78]}),
        ("attacked", {"plot-eer": [2, 2]}),
    ],
)
def test_a_page_is_quiet_and_has_its_points(page: Page, folder: Path, name: str, points: dict[str, list[int]]) -> None:
    page.open(folder / f"{name}.html")
    assert complaints(page) == []
    assert page.run(POINTS) == points
    drawn = page.run("document.querySelectorAll('.scatterlayer .point').length")
    lines = 1 if name != "survey" else 0
    assert drawn == sum(map(sum, points.values())) - 2 * lines
    assert page.run("document.querySelectorAll('img, .plot a').length") == 0


@requires("chromium", "report")
def test_the_models_sort(page: Page, folder: Path) -> None:
    page.open(folder / "eer.html")
    column = "[...document.querySelectorAll('#rates thead th')].map((th) => th.textContent).indexOf('EER')"
    place = page.run(column)
    names = COLUMN.format("rates", 0)
    assert page.run(names) == ["small", "large", "blind"]
    page.run(SORT.format("rates", place))
    assert page.run(names) == ["small", "blind", "large"]
    page.run(SORT.format("rates", place))
    assert page.run(names) == ["large", "blind", "small"]
    page.run(SORT.format("rates", 3))
    assert page.run(names)[-1] == "blind"


@requires("chromium", "report")
def test_the_audit_sorts_and_filters(page: Page, folder: Path) -> None:
    page.open(folder / "survey.html")
    box = "document.getElementById('filter-all')"
    page.run(f"{box}.value = 'tinyvit-21m viii'; {box}.dispatchEvent(new Event('input'))")
    assert page.run(COLUMN.format("all", 0)) == ["VIII-catg", "VIII-all"]
    page.run(f"{box}.value = ''; {box}.dispatchEvent(new Event('input'))")
    page.run(SORT.format("all", 6))
    values = page.run(COLUMN.format("all", 6))
    assert values[-3:] == ["—"] * 3
    numbers = [float(value.removesuffix(" %")) for value in values[:-3]]
    assert numbers == sorted(numbers)
    assert len(numbers) == 169


@requires("chromium", "report")
@pytest.mark.parametrize("name", ["eer", "survey"])
def test_it_fits_a_phone_and_stands_out_in_both_schemes(page: Page, folder: Path, name: str) -> None:
    page.open(folder / f"{name}.html")
    for width, scheme in ((380, "light"), (1280, "dark")):
        page.look(width, scheme=scheme)
        assert page.run("document.documentElement.scrollWidth") <= width
        assert page.run(CONTRAST) == []
    assert page.pdf().startswith(b"%PDF")
    page.look(1280)
