"""The command line and the backends start without the heavy packages, which are imported where they are used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "ai_edge_litert",
    "hls4ml",
    "jinja2",
    "onnx",
    "onnxruntime",
    "plotly",
    "tensorflow",
    "tflite_runtime",
    "timm",
    "torch",
    "torchvision",
    "tvm",
}

PROGRAM = """
import json, sys, time
start = time.process_time()
for name in sys.argv[1:]:
    __import__(name)
seconds = time.process_time() - start
print(json.dumps({"seconds": seconds, "modules": sorted({name.partition(".")[0] for name in sys.modules})}))
"""


def imported_by(*names: str, folder: Path | None = None) -> tuple[float, set[str]]:
    """CPU seconds that a fresh interpreter needs to import ``names``, and the top-level modules that it then holds."""
    command = [sys.executable, "-c", PROGRAM, *names]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    answer = json.loads(result.stdout)
    return answer["seconds"], set(answer["modules"])


def test_the_check_sees_a_heavy_import(tmp_path: Path) -> None:
    (tmp_path / "plotly.py").touch()
    (tmp_path / "plots_at_start.py").write_text("import plotly")
    _, modules = imported_by("plots_at_start", folder=tmp_path)
    assert modules & HEAVY == {"plotly"}


@pytest.mark.parametrize(
    "names", [("edgevit.cli",), ("edgevit_coral.backend",), ("edgevit.cli", "edgevit_coral.backend")]
)
def test_no_heavy_module_is_imported_at_start(names: tuple[str, ...]) -> None:
    _, modules = imported_by(*names)
    assert modules & HEAVY == set()


def test_the_command_line_starts_quickly() -> None:
    """CPU time, the best of three; torch alone takes 1.0 s, measured in the same way."""
    assert min(imported_by("edgevit.cli")[0] for _ in range(3)) < 1.0
