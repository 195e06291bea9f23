"""What only shows in a process of its own: Ctrl-C, and tools that are not installed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.invoke import tree
from tests.tools import requires

needs_tools = requires("torch", "litert")

PAUSED = """
import sys, time
import {module}

def pause(*args, **kwargs):
    print("paused", flush=True)
    time.sleep(300)

{module}.{function} = pause
from edgevit.cli import main
main(sys.argv[1:])
"""
"""The command line with one function that says when it is reached and never returns."""

WITHOUT = """
import sys
from importlib.machinery import PathFinder

missing = sys.argv[1].split(",")

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        return None if fullname.partition(".")[0] in missing else super().find_spec(fullname, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
from edgevit.cli import main
main(sys.argv[2:])
"""
"""The command line on a machine on which some packages are not installed."""


def without(missing: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT, missing, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


@needs_tools
@pytest.mark.parametrize(
    ("module", "function", "written"),
    [
        ("edgevit.export.compile", "calibrate", set()),
        ("edgevit.export.write", "_write_golden", {"mapping.json", "model.tflite"}),
    ],
)
def test_control_c_leaves_the_old_bundle(
    module: str, function: str, written: set[str], tiny: str, pictures: Path, exported: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    os.symlink(exported, tmp_path / "link")
    subprocess.run(["cp", "-r", exported, bundle], check=True)
    before = tree(tmp_path)
    command = [sys.executable, "-c", PAUSED.format(module=module, function=function)]
    command += ["export", tiny, "--calib", str(pictures), "-o", str(bundle), "--force"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "paused\n"
        partial = [path for path in tmp_path.iterdir() if path.name.startswith(".bundle.")]
        assert {path.name for folder in partial for path in folder.iterdir()} == written
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.endswith("interrupted: nothing was written\n")
    assert "Traceback" not in err
    assert tree(tmp_path) == before


@needs_tools
@pytest.mark.parametrize(
    ("missing", "arguments", "words"),
    [
        ("ai_edge_litert", ("export",), ("coral: not installed: ai_edge_litert", "edgevit[coral]")),
        ("ai_edge_litert,tflite_runtime", ("export", "--dry-run"), ("ai_edge_litert", "edgevit[coral]")),
        ("torch", ("export",), ("torch is not installed", "edgevit[torch]")),
        ("torch", ("inspect",), ("torch is not installed", "edgevit[torch]")),
        ("timm", ("export", "timm:deit_tiny_patch16_224", "--calib", "embedded"), ("timm", "edgevit[timm]")),
    ],
)
def test_a_missing_tool(missing: str, arguments: tuple[str, ...], words: tuple[str, ...], tmp_path: Path) -> None:
    output = ["-o", str(tmp_path / "bundle")] if arguments[0] == "export" else []
    result = without(missing, *arguments, *output)
    assert result.returncode == 6, result.stderr
    assert "Traceback" not in result.stderr
    message = result.stderr[result.stderr.index("error: ") :]
    assert "\nhint: " in message
    assert not [word for word in words if word not in message], message
    assert list(tmp_path.iterdir()) == []


@needs_tools
def test_doctor_and_targets_name_what_is_missing() -> None:
    result = without("ai_edge_litert,timm", "doctor")
    assert result.returncode == 0
    for remedy in ("pip install 'edgevit[coral]'", "pip install --no-deps timm"):
        assert f"      {remedy}" in result.stdout
    result = without("ai_edge_litert", "targets")
    assert result.returncode == 0
    assert "missing: pip install 'edgevit[coral]'" in result.stdout


@needs_tools
def test_a_report_without_its_packages_is_json_alone(tiny: str, pictures: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    result = without("plotly,jinja2", "export", tiny, "--calib", pictures, "-o", bundle, "-q")
    assert result.returncode == 0, result.stderr
    assert {"report.json", "model.tflite"} <= {path.name for path in bundle.iterdir()}
    assert not (bundle / "report.html").exists()


@needs_tools
def test_verify_without_the_run_time_says_what_it_left_out(exported: Path) -> None:
    """The exact kernels read the file by its schema, which comes with the same package."""
    result = without("ai_edge_litert", "verify", exported)
    assert "Traceback" not in result.stderr
    assert result.returncode == 0, result.stdout + result.stderr
    assert "edgevit[coral]" in result.stdout
