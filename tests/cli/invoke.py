"""Run the command line inside this process and see what it printed and left behind."""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

from edgevit.cli.main import run


@dataclass(frozen=True)
class Outcome:
    """Exit code and what went to stdout and stderr."""

    code: int
    out: str
    err: str


def invoke(*arguments: str | Path) -> Outcome:
    """`edgevit ARGUMENTS`, without a new process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    return Outcome(code, out.getvalue(), err.getvalue())


def succeed(*arguments: str | Path) -> Outcome:
    """The same, for a command that is expected to work."""
    outcome = invoke(*arguments)
    assert outcome.code == 0, outcome.err
    return outcome


def tree(folder: Path) -> dict[str, tuple[int, int] | bytes]:
    """Everything below a folder: the bytes of files, identity and mode of folders; the names of hidden ones too."""
    found: dict[str, tuple[int, int] | bytes] = {}
    for root, folders, files in os.walk(folder):
        for name in folders:
            path = Path(root, name)
            found[str(path.relative_to(folder))] = (path.stat().st_ino, path.stat().st_mode)
        for name in files:
            path = Path(root, name)
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def fail(code: int, *words: str, arguments: tuple[str | Path, ...], watched: Path) -> Outcome:
    """Run a command that is to fail with ``code``: it names each of ``words`` and a remedy, shows no traceback and
    leaves ``watched`` as it was.
    """
    before = tree(watched)
    outcome = invoke(*arguments)
    assert outcome.code == code, outcome.err
    assert "Traceback" not in outcome.err
    message = outcome.err[outcome.err.index("error: ") :]
    assert "\nhint: " in message, message
    assert not [word for word in words if word not in message], message
    assert tree(watched) == before
    return outcome
