"""The wheel: what it holds, what it must not hold, and its command line where only the base dependencies are."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pytest

from tests.tools import requires

FORBIDDEN_PARTS = {"__pycache__", "tests", "out", "build", "dist"}
FORBIDDEN_SUFFIXES = {".pyc", ".pyo", ".orig", ".log", ".tmp"}


def clean_environment(**extra: str) -> Mapping[str, str]:
    """The environment without what would let a child see the checkout or the outer virtual environment."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "EDGEVIT"))
    }
    return kept | extra


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of ``command``; on failure the test fails with both outputs."""
    result = subprocess.run([*map(str, command)], cwd=cwd, env=clean_environment(), capture_output=True, text=True)
    if result.returncode:
        pytest.fail(f"{' '.join(map(str, command))}\nexit {result.returncode}\n{result.stdout}\n{result.stderr}", False)
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, repo: Path) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, repo, cwd=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def packages(repo: Path) -> dict[str, Path]:
    """Every import package of the checkout by its name, found by the layout and not by the configuration."""
    patterns = ("edgevit", "backends/*/edgevit_*", "kernels/edgevit_*", "devices/edgevit_*")
    return {path.name: path for pattern in patterns for path in repo.glob(pattern)}


def test_top_level_names(names: set[str], packages: dict[str, Path]) -> None:
    tops = {PurePosixPath(name).parts[0] for name in names}
    metadata = {top for top in tops if top.endswith(".dist-info")}
    assert len(metadata) == 1
    assert tops - metadata == set(packages)
    assert {"edgevit", "edgevit_coral", "edgevit_kernels"} <= set(packages)


@requires("git")
def test_no_cache_or_ignored_file(names: set[str], packages: dict[str, Path], repo: Path) -> None:
    paths = [PurePosixPath(name) for name in names]
    assert [path for path in paths if FORBIDDEN_PARTS & set(path.parts) or path.suffix in FORBIDDEN_SUFFIXES] == []
    listing = "\n".join(
        str(packages[top].joinpath(*rest)) for top, *rest in (path.parts for path in paths) if top in packages
    )
    assert listing
    command = ["git", "check-ignore", "--no-index", "--stdin"]
    ignored = subprocess.run(command, cwd=repo, input=listing, capture_output=True, text=True)
    assert (ignored.returncode, ignored.stdout) == (1, "")


def test_every_source_file_is_in_it(names: set[str], packages: dict[str, Path]) -> None:
    for root in packages.values():
        files = {path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        assert {path.relative_to(root.parent).as_posix() for path in files} - names == set()


def test_data_and_type_markers(names: set[str], packages: dict[str, Path]) -> None:
    assert {f"{package}/py.typed" for package in packages} <= names
    suffixes = {PurePosixPath(name).suffix for name in names if name.startswith("edgevit/embedded/")}
    assert suffixes >= {".npz", ".safetensors"}


def test_entry_points(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt")]
        parser = configparser.ConfigParser()
        parser.read_string(archive.read(name).decode())
    assert dict(parser["console_scripts"]) == {"edgevit": "edgevit.cli:main"}
    assert parser["edgevit.backends"]["coral"] == "edgevit_coral.backend:CoralBackend"


@requires("pypi")
def test_the_command_line_runs_in_an_empty_environment(wheel: Path, repo: Path, tmp_path: Path) -> None:
    environment, elsewhere = tmp_path / "environment", tmp_path / "elsewhere"
    elsewhere.mkdir()
    run(sys.executable, "-m", "venv", environment, cwd=elsewhere)
    python, edgevit = environment / "bin" / "python", environment / "bin" / "edgevit"
    run(python, "-m", "pip", "install", "--quiet", "-c", repo / "constraints.txt", wheel, cwd=elsewhere)

    where = run(python, "-c", "import edgevit, edgevit_coral, sys; print(edgevit.__file__, *sys.path)", cwd=elsewhere)
    assert str(environment) in where
    assert str(repo) not in where.replace(str(environment), "")

    assert "export" in run(edgevit, "--help", cwd=elsewhere)
    assert "coral" in run(edgevit, "targets", cwd=elsewhere)
    assert "torch" in run(edgevit, "doctor", cwd=elsewhere)
    assert list(elsewhere.iterdir()) == []
