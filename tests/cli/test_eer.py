"""`edgevit eer` on real bundles, and on what is none."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit.bundle import file_hash
from tests.cli.invoke import fail, invoke, succeed, tree
from tests.tools import requires

bundles = requires("torch", "litert")


def reseal(bundle: Path, name: str, change: Callable[[dict[str, object]], object]) -> None:
    """Change a JSON file of a bundle, and its hash in the manifest with it."""
    path, manifest = bundle / name, bundle / "manifest.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    held = json.loads(manifest.read_text())
    held["files"][name] = file_hash(path)
    manifest.write_text(json.dumps(held))


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    """A bundle that may be changed."""
    return Path(shutil.copytree(exported, tmp_path / "copy"))


def test_the_audit() -> None:
    outcome = succeed("eer", "--survey")
    words = " ".join(outcome.out.split())
    assert (
        "172 rows of Tables II to VIII, recomputed: 113 agree within 0.05 points, 35 are truncated, 21 differ" in words
    )
    assert "3 have no figures" in words
    for table, row, printed, ours in (("III", "PS-LV-ViT-S", "32.8", "28.364"), ("II", "Swin-S", "53.5", "53.584")):
        assert f"{table} {row} {printed} {ours}" in words
    assert "trained on ImageNet-1k without distillation" in words


def test_the_audit_as_json_and_csv() -> None:
    answer = json.loads(succeed("eer", "--survey", "--json").out)
    assert answer["counts"] == {"agrees": 113, "truncated": 35, "differs": 21, "n/a": 3}
    rows = list(csv.DictReader(io.StringIO(succeed("eer", "--survey", "--csv").out)))
    assert sum(row["outcome"] == "differs" for row in rows) == 21


@bundles
def test_two_bundles(exported: Path, embedded: Path) -> None:
    answer = json.loads(succeed("eer", exported, embedded, "--json").out)
    small, large = answer["rows"]
    figures = {figure["metric"]: figure for figure in large["figures"]}
    assert figures["params"]["value"] == 0.861818
    assert figures["flops"]["value"] == pytest.approx(0.06147968)
    assert figures["bits"]["value"] == 8
    assert figures["size"]["value"] == (embedded / "model.tflite").stat().st_size / 1e6
    assert {figure["kind"] for figure in large["figures"]} == {"measured"}
    assert {figure["reference_kind"] for figure in large["figures"]} == {"published"}
    parts = (0.861818 / 86.6, 0.06147968 / 17.6, 8 / 32, figures["size"]["value"] / 330)
    assert large["eer"] == pytest.approx(100 * sum(parts) / 4)
    report = json.loads((embedded / "report.json").read_text())
    assert large["top1"] == pytest.approx(100 * report["accuracy"]["top1_int8"])
    assert small["eer"] < large["eer"]
    assert any("different images" in note for note in answer["notes"])
    assert (large["front"], small["front"]) == (large["top1"] > small["top1"], True)


@bundles
def test_weights_reference_and_both_forms(exported: Path, embedded: Path) -> None:
    arguments = ("eer", exported, embedded, "--weights", "size=0.75,params=0.25", "--reference", embedded)
    small, large = json.loads(succeed(*arguments, "--json").out)["rows"]
    assert large["eer"] == pytest.approx(100)
    assert large["eer_literal"] == pytest.approx(50)
    assert large["kinds"] == "measured"
    assert small["eer"] < 100
    outcome = succeed(*arguments)
    assert "literal" in outcome.out
    assert "Eq. 28 normalized over size 0.75, params 0.25, beside bundle" in " ".join(outcome.out.split())


@bundles
@requires("report")
def test_the_page_is_written_beside_any_output(exported: Path, tmp_path: Path) -> None:
    page = tmp_path / "eer.html"
    outcome = succeed("eer", exported, "--metrics", "params,flops", "--survey", "--csv", "--html", page)
    rows = list(csv.DictReader(io.StringIO(outcome.out)))
    assert len(rows) == 1 + 81
    assert f"wrote {page}" in outcome.err
    assert "Accuracy against EER" in page.read_text()
    assert list(tree(tmp_path)) == ["eer.html"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ["no bundles"]),
        (("--survey", "--json", "--csv"), ["--json and --csv"]),
        (("--survey", "--weights", "size=1"), ["--weights without a bundle"]),
        (("--survey", "--metrics", "size", "--reference", "x"), ["--metrics, --reference without a bundle"]),
        (("nowhere",), ["nowhere", "No such file"]),
        (("--survey", "--html", "no/such/folder/page.html"), ["page.html", "cannot be written"]),
    ],
)
def test_bad_usage(
    arguments: tuple[str, ...], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fail(2, *words, arguments=("eer", *arguments), watched=tmp_path)


@bundles
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--metrics", "flop"), ["no metric 'flop'", "did you mean flops?"]),
        (("--metrics", "latency"), ["bundle: no figure for latency", "params, flops, bits, size"]),
        (("--weights", "latency=0.5,size=0.5"), ["bundle: no figure for latency"]),
        (("--weights", "size=0.5"), ["sum to 0.5"]),
        (("--weights", "size=1", "--metrics", "bits"), ["they name size, --metrics names bits"]),
        (("--reference", "nowhere"), ["nowhere"]),
    ],
)
def test_options_that_do_not_fit(options: tuple[str, ...], words: list[str], exported: Path, tmp_path: Path) -> None:
    fail(2, *words, arguments=("eer", exported, *options), watched=tmp_path)


@bundles
@pytest.mark.parametrize("name", ["report.json", "model.tflite", "manifest.json"])
@pytest.mark.parametrize("damage", ["removed", "cut"])
def test_a_damaged_bundle(name: str, damage: str, copy: Path, tmp_path: Path) -> None:
    path = copy / name
    content = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    fail(2, str(path), arguments=("eer", copy), watched=tmp_path)


@bundles
@pytest.mark.parametrize("name", ["report.json", "model.tflite"])
def test_a_file_that_is_elsewhere(name: str, copy: Path, tmp_path: Path) -> None:
    (copy / name).rename(tmp_path / "elsewhere")
    (copy / name).symlink_to(tmp_path / "elsewhere")
    fail(2, str(copy / name), "is not what was exported", arguments=("eer", copy), watched=tmp_path)


@bundles
def test_a_bundle_without_cost_says_what_to_do(copy: Path, tmp_path: Path) -> None:
    reseal(copy, "report.json", lambda report: report.pop("cost"))
    fail(2, "holds no cost figures", "export it again", arguments=("eer", copy), watched=tmp_path)


@bundles
def test_a_report_that_is_none(copy: Path, tmp_path: Path) -> None:
    reseal(copy, "report.json", lambda report: report.update(cost={"parameters": -1}))
    fail(2, "report.json: cost", arguments=("eer", copy), watched=tmp_path)


@bundles
def test_a_name_is_shown_and_not_obeyed(exported: Path, tmp_path: Path) -> None:
    name = "[bold]\x1b[31mred"
    bundle = Path(shutil.copytree(exported, tmp_path / name))
    outcome = succeed("eer", bundle)
    assert "\x1b" not in outcome.out
    assert "[bold]" in outcome.out


@bundles
def test_two_folders_of_one_name_are_told_apart(exported: Path, embedded: Path) -> None:
    assert exported.name == embedded.name
    rows = json.loads(succeed("eer", exported, embedded, "--json").out)["rows"]
    assert [row["name"] for row in rows] == [str(exported), str(embedded)]


def test_the_command_is_listed() -> None:
    assert "eer" in invoke("--help").out
