"""Output that cannot be written and gates that fail: exit code, place, remedy, and the old bundle as it was."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgevit.data.arrays import write_arrays
from tests.cli.invoke import fail, invoke, succeed, tree
from tests.tools import requires

pytestmark = requires("torch", "litert")


def test_output_that_is_a_file_or_below_one(tiny: str, pictures: Path, place: Path) -> None:
    path = place / "file"
    path.write_text("mine")
    for output in (path, path / "bundle"):
        arguments = ("export", tiny, "--calib", pictures, "-o", output, "--force")
        fail(2, str(path), "choose another folder", arguments=arguments, watched=place)


def test_a_folder_that_is_no_bundle_is_not_replaced(tiny: str, pictures: Path, place: Path) -> None:
    (place / "photos").mkdir()
    (place / "photos" / "cat.jpg").write_text("mine")
    arguments = ("export", tiny, "--calib", pictures, "-o", place / "photos", "--force")
    fail(2, "holds files that are no bundle", arguments=arguments, watched=place)


def test_a_bundle_is_replaced_with_force_only(exported: Path, tiny: str, pictures: Path, place: Path) -> None:
    bundle = Path(shutil.copytree(exported, place / "bundle"))
    arguments = ("export", tiny, "--calib", pictures, "-o", bundle, "--io", "int8")
    fail(2, "holds a bundle already", "--force", arguments=arguments, watched=place)
    succeed(*arguments, "--force", "-q")
    assert json.loads((bundle / "manifest.json").read_text())["options"]["io"] == "int8"
    assert os.listdir(place) == ["bundle"]


@pytest.mark.parametrize("folder", ["/proc", "/sys"])
def test_a_folder_that_cannot_be_written(folder: str, tiny: str, pictures: Path, place: Path) -> None:
    """The kernel refuses new names there to root, too; it is found out before the model is loaded."""
    arguments = ("export", tiny, "--calib", pictures, "-o", f"{folder}/bundle")
    outcome = fail(2, f"{folder}/bundle: cannot be written", "-o", arguments=arguments, watched=place)
    assert "load and capture" not in outcome.err


def test_a_name_that_is_too_long(tiny: str, pictures: Path, place: Path) -> None:
    for length in (300, 250):
        arguments = ("export", tiny, "--calib", pictures, "-o", place / ("x" * length))
        fail(2, "cannot be written: File name too long", arguments=arguments, watched=place)


@pytest.fixture
def small_files() -> Iterator[None]:
    """The kernel refuses to let any file of this process grow beyond 10 kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_does_not_fit(exported: Path, tiny: str, pictures: Path, place: Path, small_files: None) -> None:
    bundle = place / "bundle"
    bundle.mkdir()
    (bundle / "manifest.json").write_text("old")
    arguments = ("export", tiny, "--calib", pictures, "-o", bundle, "--force")
    fail(2, f"{bundle}: cannot be written: File too large", "free some space", arguments=arguments, watched=place)


@pytest.mark.parametrize("name", ["model.tflite", "golden.npz", "numerics.json", "report.html", "manifest.json"])
def test_a_full_disk(
    name: str, tiny: str, pictures: Path, exported: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever file it is that no longer fits, the old bundle stays."""
    bundle = Path(shutil.copytree(exported, place / "bundle"))
    fill_disk_at(name, monkeypatch)
    arguments = ("export", tiny, "--calib", pictures, "-o", bundle, "--force")
    fail(2, f"{bundle}: cannot be written: No space left on device", "free some", arguments=arguments, watched=place)
    monkeypatch.undo()
    succeed("verify", bundle)


def fill_disk_at(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every way in which a file of that name is written fail as on a full disk."""

    def refuse(path: Path) -> None:
        if path.name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def guarded(original: Callable[..., int]) -> Callable[..., int]:
        def write(path: Path, *arguments: object, **options: object) -> int:
            refuse(path)
            return original(path, *arguments, **options)

        return write

    for method in ("write_text", "write_bytes"):
        monkeypatch.setattr(Path, method, guarded(getattr(Path, method)))

    def write_array_file(path: Path, arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]) -> None:
        refuse(path)
        write_arrays(path, arrays)

    monkeypatch.setattr("edgevit.bundle.write_arrays", write_array_file)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--min-sqnr", "90"), 5, ("SQNR of the logits is", "--min-sqnr asks for at least 90 dB")),
        (("--max-drop", "1"), 5, ("unknown without labels", "--max-drop", "--eval")),
    ],
)
def test_a_failed_gate_writes_nothing_without_force(
    options: tuple[str, ...], code: int, words: tuple[str, ...], tiny: str, pictures: Path, output: Path, place: Path
) -> None:
    arguments = ("export", tiny, "--calib", pictures / "ant", "-o", output, *options)
    fail(code, *words, arguments=arguments, watched=place)
    assert invoke(*arguments, "--force").code == code
    report = json.loads((output / "report.json").read_text())
    assert report["verdict"] == "gates failed"
    succeed("verify", output)


def test_a_failed_mapping_gate(
    tiny: str, pictures: Path, output: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a limit table in which SOFTMAX was never seen, what depends on it runs on the CPU."""
    from edgevit_coral import limits

    monkeypatch.delitem(limits.HIGHEST_MAPPED_VERSION, "SOFTMAX")
    arguments = ("export", tiny, "--calib", pictures, "-o", output, "--min-mapped", "100")
    fail(
        4, "of the ops are mapped, --min-mapped asks for at least 100 %", "SOFTMAX", arguments=arguments, watched=place
    )
    assert invoke(*arguments, "--force", "-q").code == 4
    assert json.loads((output / "report.json").read_text())["mapping"]["mapped"] < 100


def test_gates_that_are_kept(tiny: str, pictures: Path, output: Path) -> None:
    gates = ("--min-mapped", "100", "--max-drop", "50", "--min-sqnr", "10")
    succeed("export", tiny, "--calib", pictures, "--eval", pictures, "-o", output, "-q", *gates)
    report = json.loads((output / "report.json").read_text())
    assert [(gate["option"], gate["passed"]) for gate in report["gates"]] == [
        ("--min-mapped", True),
        ("--max-drop", True),
        ("--min-sqnr", True),
    ]


def test_a_dry_run_with_a_failed_gate(tiny: str, pictures: Path, output: Path, place: Path) -> None:
    arguments = ("export", tiny, "--calib", pictures, "-o", output, "--min-sqnr", "90", "--dry-run")
    fail(5, "--min-sqnr", arguments=arguments, watched=place)


def test_watching_sees_what_is_left_behind(place: Path) -> None:
    """The check behind all tests of this file notices a new hidden file and a changed one."""
    before = tree(place)
    (place / ".bundle.x.partial").mkdir()
    assert tree(place) != before
    before = tree(place)
    (place / ".bundle.x.partial" / "model.tflite").write_bytes(b"1")
    assert tree(place) != before


@pytest.mark.parametrize("name", ["unsupported", "nan"])
def test_a_model_that_fails_leaves_the_old_bundle(
    name: str, models: Path, exported: Path, pictures: Path, place: Path
) -> None:
    bundle = Path(shutil.copytree(exported, place / "bundle"))
    arguments = ("export", f"{models}:{name}", "--calib", pictures, "-o", bundle, "--force")
    fail(3, name, arguments=arguments, watched=place)
    succeed("verify", bundle)
