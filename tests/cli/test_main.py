"""What becomes of errors: exit codes and messages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from edgevit import __version__, errors
from edgevit.errors import EdgevitError
from tests.cli.invoke import invoke, succeed

CODES = {
    "EdgevitError": 1,
    "IRError": 1,
    "PassError": 1,
    "UsageError": 2,
    "BundleError": 2,
    "FrontendError": 3,
    "QuantError": 3,
    "BackendError": 3,
    "UnsupportedOp": 3,
    "MappingGate": 4,
    "AccuracyGate": 5,
    "ToolNotFound": 6,
    "DeviceError": 7,
    "DeviceTimeout": 7,
    "CommandFailed": 7,
}
"""The exit codes that DESIGN.md promises."""


def kinds(kind: type[EdgevitError] = EdgevitError) -> Iterator[type[EdgevitError]]:
    """An error class and all below it in edgevit/errors.py."""
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from kinds(below)


def raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> None:
        raise error

    monkeypatch.setattr("edgevit.backend.load_backend", load)


def test_the_table_names_every_error() -> None:
    assert {kind.__name__ for kind in kinds()} == set(CODES)


@pytest.mark.parametrize("kind", list(kinds()), ids=lambda kind: kind.__name__)
def test_expected_errors(kind: type[EdgevitError], monkeypatch: pytest.MonkeyPatch) -> None:
    raising(kind("is wrong", where="a.b", hint="mend it"), monkeypatch)
    outcome = invoke("targets")
    assert outcome.code == CODES[kind.__name__]
    assert outcome.err == "error: a.b: is wrong\nhint: mend it\n"
    assert outcome.out == ""


def test_a_defect_shows_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(ZeroDivisionError("oops"), monkeypatch)
    outcome = invoke("targets")
    assert outcome.code == 1
    assert "Traceback" in outcome.err
    assert "ZeroDivisionError: oops" in outcome.err
    assert outcome.err.endswith("please report it with the lines above\n")


def test_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(KeyboardInterrupt(), monkeypatch)
    outcome = invoke("targets")
    assert (outcome.code, outcome.err.strip()) == (130, "interrupted: nothing was written")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("export", "--nope"), "--nope"),
        (("exprot",), "exprot"),
        (("export", "--seed", "x"), "--seed"),
        (("verify",), "Missing argument"),
        (("targets", "more"), "more"),
        ((), ""),
    ],
)
def test_a_wrong_command_line(arguments: tuple[str, ...], word: str) -> None:
    outcome = invoke(*arguments)
    assert outcome.code == 2
    assert word in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("command", [(), ("export",), ("inspect",), ("verify",), ("targets",), ("doctor",)])
def test_help(command: tuple[str, ...]) -> None:
    for option in ("--help", "-h"):
        assert "Usage: edgevit" in succeed(*command, option).out


def test_the_version() -> None:
    assert succeed("--version").out == f"edgevit {__version__}\n"


def test_the_program_exits_with_the_code() -> None:
    """Through the module, as a process sees it."""
    program = "from edgevit.cli import main; main(['export', '--io', 'int4'])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: --io 'int4'\nhint: uint8 or int8\n"
