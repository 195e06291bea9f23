"""`edgevit inspect`: the IR as text, before and after passes, and why rewrites did not fire."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgevit.ir.parse import parse_graph
from edgevit.ir.text import print_graph
from tests.cli.invoke import fail, succeed
from tests.tools import requires

pytestmark = requires("torch", "litert")


def text(*arguments: str | Path) -> str:
    outcome = succeed("inspect", *arguments)
    assert outcome.err == ""
    return outcome.out


@pytest.mark.parametrize("options", [(), ("--after", "split-heads"), ("--before", "norm-forms")])
def test_float_graphs_print_and_parse_back(options: tuple[str, ...], tiny: str) -> None:
    """Arrays are named by their contents, so equal text means an equal graph."""
    from edgevit.backend import load_backend
    from edgevit.frontend import load_model, lower
    from edgevit.ir.graph import Graph
    from edgevit.ir.text import resources
    from edgevit.passes.pipeline import PassRecord, Pipeline
    from edgevit.quant.config import QuantConfig

    printed = text(tiny, *options)
    arrays = {}
    start = lower(load_model(tiny))
    arrays.update(resources(start))

    def collect(record: PassRecord, graph: Graph) -> None:
        arrays.update(resources(graph))

    Pipeline(tuple(load_backend("coral").passes(QuantConfig()))).run(start, on_pass=collect)
    parsed = parse_graph(printed, arrays)
    assert print_graph(parsed) == printed
    assert parsed.name == "tiny"
    if not options:
        assert [op.NAME for op in parsed.ops] == [op.NAME for op in start.ops]


def test_the_start_holds_what_the_model_says(tiny: str) -> None:
    start = text(tiny)
    assert start.startswith("graph @tiny form=float\n")
    for place in ("block.attn.qkv", "block.norm1", "head"):
        assert place in start
    assert "tflite." not in start


def test_passes_change_the_graph_between_before_and_after(tiny: str) -> None:
    before, after = text(tiny, "--before", "raise-layer-norm"), text(tiny, "--after", "raise-layer-norm")
    attention = text(tiny, "--before", "split-heads"), text(tiny, "--after", "split-heads")
    assert "attention(" in attention[0]
    assert "attention(" not in attention[1]
    assert "layer_norm(" in after
    assert before == text(tiny, "--before", "raise-layer-norm", "--occurrence", "1")


def test_the_target_form_has_only_ops_of_the_target(tiny: str, pictures: Path) -> None:
    quantized = text(tiny, "--calib", pictures, "--after", "quantize")
    lowered = text(tiny, "--calib", pictures, "--after", "lower")
    assert quantized == text(tiny, "--calib", pictures, "--before", "lower")
    assert "form=quantized" in quantized
    assert "form=target" in lowered
    names = set(re.findall(r"= ([a-z_0-9.]+)\(", lowered))
    assert "tflite.fully_connected" in names
    assert {name for name in names if not name.startswith("tflite.")} <= {"input", "const"}


def test_passes_are_listed_in_order_with_their_ops(tiny: str) -> None:
    listing = text(tiny, "--passes")
    names = [line.split()[0].partition("{")[0] for line in listing.splitlines()[1:]]
    assert names.index("raise-layer-norm") < names.index("norm-forms") < names.index("split-heads")
    assert all(re.search(r"\d+ +\d+$", line.strip()) for line in listing.splitlines()[1:])


def test_why_tells_which_rewrites_did_not_fire(tiny: str) -> None:
    lines = text(tiny, "--why").splitlines()
    count = int(lines[-1].split()[0])
    assert lines[-1] == f"{count} rewrites did not fire"
    assert count == len(lines) - 1 > 0
    assert all(re.match(r"[a-z-]+ \S+: [a-z_0-9]+: .+ \(.+\)$", line) for line in lines[:-1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--after", "split-head"), ("no pass 'split-head'", "did you mean 'split-heads'")),
        (("--after", "xyz"), ("no pass 'xyz'", "passes: ")),
        (("--after", "split-heads", "--before", "norm-forms"), ("both --after and --before",)),
        (("--after", "split-heads", "--occurrence", "2"), ("runs 1 times", "1 is the first")),
        (("--after", "split-heads", "--occurrence", "0"), ("--occurrence 0",)),
        (("--after", "lower"), ("no calibration data", "--calib")),
    ],
)
def test_questions_without_an_answer(
    options: tuple[str, ...], words: tuple[str, ...], tiny: str, tmp_path: Path
) -> None:
    fail(2, *words, arguments=("inspect", tiny, *options), watched=tmp_path)
