"""The figures hold every row of the report once, in values that JSON has."""

from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from edgevit.report.model import SizeReport, SizeRow, SqnrReport, SqnrRow
from edgevit.report.module_tree import MAX_DEPTH, STRUCTURE, module_tree
from edgevit.report.plots import ledger_plot, plain, report_plots, strip_plot, waterfall_plot
from tests.report.factory import export_report


def test_every_part_has_its_plots() -> None:
    report = export_report(depth=2)
    ids = ["accuracy", "confusion", "sqnr", "size", "ledger", "operators", "strip"]
    assert list(report_plots(report)) == [f"plot-{name}" for name in ids]
    bare = report.model_copy(update={"accuracy": None, "mapping": None, "sqnr": None})
    assert list(report_plots(bare)) == ["plot-size", "plot-ledger"]


def test_the_figures_are_json() -> None:
    for plot in report_plots(export_report(depth=2, unmapped=20)).values():
        json.dumps([plot.data, plot.layout], allow_nan=False)
        assert plot.caption.endswith(".")


def test_the_waterfall_leaves_out_what_is_exact_and_shows_what_has_no_signal() -> None:
    values = (math.inf, 30.0, -math.inf, -4.0)
    rows = tuple(SqnrRow(index=i, loc=f"l{i}", op="add", sqnr_db=value) for i, value in enumerate(values))
    plot = waterfall_plot(SqnrReport(images=4, rows=rows, worst=(2,), threshold_db=12.0))
    line, worst = plot.data
    assert line["y"] == [None, 30.0, -4.0, -4.0]
    assert line["x"] == [0, 1, 2, 3]
    assert (worst["x"], worst["y"]) == ([2], [-4.0])
    assert worst["customdata"][0][2] == "no signal"
    assert plot.layout["shapes"][0]["y0"] == 12.0
    assert "1 op without any noise left out" in plot.caption


def test_a_layer_whose_own_ratio_is_0_db_is_marked_there() -> None:
    rows = (SqnrRow(index=0, loc="l", op="add", sqnr_db=9.0, local_sqnr_db=0.0),)
    plot = waterfall_plot(SqnrReport(images=1, rows=rows, worst=(0,)))
    assert plot.data[-1]["y"] == [0.0]
    assert "l (0.0 dB)" in plot.caption


def test_the_strip_holds_every_op_once() -> None:
    mapping = export_report(depth=2, unmapped=30).mapping
    assert mapping is not None
    mapped, unmapped = strip_plot(mapping).data
    assert mapped["x"] == list(range(30))
    assert unmapped["x"] == list(range(30, mapping.total))
    assert "op 30, GELU" in strip_plot(mapping).caption


def test_names_reach_plotly_as_letters() -> None:
    assert plain("<b>a & b</b>") == "&lt;b&gt;a &amp; b&lt;/b&gt;"
    long = plain("a" * 100 + "<i>")
    assert long.endswith("&lt;i&gt;")
    assert "…" in long
    assert len(long) < 80


def sizes(*rows: SizeRow, structure: int = 0) -> SizeReport:
    total = sum(row.total_bytes for row in rows) + structure
    return SizeReport(file_bytes=max(total, 1), float_bytes=0, parameters=0, rows=rows)


def test_the_tree_of_modules() -> None:
    rows = (SizeRow(loc="blocks.0", weights_bytes=1), SizeRow(loc="blocks.0.fc", weights_bytes=20, scales_bytes=3))
    nodes = module_tree(sizes(*rows, SizeRow(loc="", weights_bytes=0, other_bytes=5), structure=7))
    tree = [(node.id, node.parent, node.label, node.total_bytes) for node in nodes]
    assert tree == [
        ("0", "", "file", 36),
        ("1", "0", "blocks", 24),
        ("2", "1", "0", 24),
        ("3", "2", "fc", 23),
        ("4", "0", "no module", 5),
        ("5", "0", STRUCTURE, 7),
    ]


@given(
    st.lists(st.tuples(st.text("ab.", max_size=30), st.integers(0, 9), st.integers(0, 9)), max_size=12),
    st.integers(0, 9),
)
def test_no_byte_is_lost_in_the_tree(items: list[tuple[str, int, int]], structure: int) -> None:
    rows = [SizeRow(loc=loc, weights_bytes=weights, scales_bytes=scales) for loc, weights, scales in items]
    size = sizes(*rows, structure=structure)
    nodes = module_tree(size)
    by_id = {node.id: node for node in nodes}
    assert len(by_id) == len(nodes)
    assert nodes[0].total_bytes == sum(row.total_bytes for row in rows) + size.structure_bytes
    for node in nodes:
        children = sum(child.total_bytes for child in nodes if child.parent == node.id)
        assert children <= node.total_bytes
        depth, above = 0, node
        while above.parent:
            depth, above = depth + 1, by_id[above.parent]
        assert depth <= MAX_DEPTH


def test_the_treemap_holds_the_whole_file() -> None:
    size = export_report(depth=2).size
    (trace,) = ledger_plot(size).data
    assert trace["values"][0] == size.file_bytes
    assert len(trace["ids"]) == len(set(trace["ids"])) == len(trace["labels"]) == len(trace["parents"])
    assert trace["parents"].count("") == 1
