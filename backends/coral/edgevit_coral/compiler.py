"""Running Google's edgetpu_compiler where it is installed.

It is closed source, for x86-64 Linux only, and no longer easy to obtain.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgevit.errors import BackendError, ToolNotFound

from .compiler_log import CompilerLog, Reconciliation, parse_log, reconcile
from .mapping import Mapping

_PROGRAM = "edgetpu_compiler"
_FLAGS = ("--show_operations", "--search_delegate", "--delegate_search_step", "30", "--timeout_sec", "180")
_LOG_BYTES = 8 * 2**20
_TIMEOUT_S = 1800.0
"""The compiler limits each attempt to 180 s, and a delegate search makes several."""


@dataclass(frozen=True)
class CompileRun:
    """One run of the compiler: its version and figures (``log``), its text, and the compiled model, empty if there is
    none.

    ``returncode`` is None for a run that took too long and was stopped.
    """

    log: CompilerLog
    text: str
    returncode: int | None
    compiled: bytes


def find_compiler() -> Path | None:
    """Path of ``edgetpu_compiler`` on PATH, or None."""
    found = shutil.which(_PROGRAM)
    return Path(found).absolute() if found else None


def compile_model(model: bytes, timeout_s: float = _TIMEOUT_S) -> CompileRun:
    """Compile a ``.tflite`` model for the Edge TPU, in a temporary folder.

    A model that the compiler refuses gives a run whose ``log`` says why. Raises `ToolNotFound` without the compiler;
    a run that takes longer than ``timeout_s`` seconds is stopped with all its children and counts as refused.
    """
    program = find_compiler()
    if program is None:
        raise ToolNotFound(
            f"{_PROGRAM} is not on PATH",
            where="coral compiler",
            hint="the export works without it, with a predicted mapping; it is Coral's Debian package for x86-64",
        )
    with tempfile.TemporaryDirectory(prefix="edgevit-coral-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        source, output = folder / "model.tflite", folder / "model_edgetpu.tflite"
        source.write_bytes(model)
        command = [str(program), "--out_dir", name, *_FLAGS, str(source)]
        text, returncode = _run(command, folder / "stdout", timeout_s)
        log = parse_log(text)
        compiled = output.read_bytes() if log.success and returncode == 0 and output.is_file() else b""
    if not compiled and (log.success or returncode is None):
        # What the log claims does not count where the compiler left no model.
        log = _failed(log, _claim(returncode, timeout_s))
    return CompileRun(log, text, returncode, compiled)


def _claim(returncode: int | None, timeout_s: float) -> str:
    if returncode is None:
        return f"stopped after {timeout_s:g} s"
    return f"exit status {returncode}" if returncode else "the compiler wrote no model"


def _failed(log: CompilerLog, reason: str) -> CompilerLog:
    return CompilerLog(log.version, False, reason, None, None, None, None, None, None, ())


def _run(command: list[str], log: Path, timeout_s: float) -> tuple[str, int | None]:
    with log.open("wb") as sink:
        try:
            # A session of its own: the compiler forks a child for each attempt, and killing the parent alone would
            # leave it running.
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                start_new_session=True,
            )
        except OSError as error:
            raise BackendError(
                f"cannot be started: {error.strerror or error}",
                where=command[0],
                hint="it is an x86-64 Linux program; remove it from PATH to export with a predicted mapping",
            ) from error
        returncode: int | None = None
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                returncode = process.wait(timeout_s)
        finally:
            _stop(process)
    with log.open("rb") as source:
        return source.read(_LOG_BYTES).decode("utf-8", "replace"), returncode


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the compiler and every child that it left, also when the user interrupts."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def compile_and_reconcile(
    model: bytes, prediction: Mapping, timeout_s: float = _TIMEOUT_S
) -> tuple[Reconciliation, CompileRun | None]:
    """Compile ``model`` if the compiler is there, and compare with ``prediction``; the run is None without it."""
    if find_compiler() is None:
        return reconcile(prediction, None), None
    run = compile_model(model, timeout_s)
    return reconcile(prediction, run.log), run
