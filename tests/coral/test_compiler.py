"""Running edgetpu_compiler (a fake that prints logs in its format), parsing its log, comparing with the prediction."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevit.errors import BackendError, ToolNotFound
from edgevit_coral import limits
from edgevit_coral.compiler import compile_and_reconcile, compile_model, find_compiler
from edgevit_coral.compiler_log import CompilerLog, parse_log, reconcile
from edgevit_coral.mapping import predict
from tests.coral.mapping_models import chain

Install = Callable[[str], None]

HEADER = """Edge TPU Compiler version 16.0.384591198
Searching for valid delegate with step 30
Try to compile segment with 3 ops
Started a compilation timeout timer of 180 seconds.
"""
FIGURES = """
Model compiled successfully in 1379 ms.

Input model: model.tflite
Input size: 4.41MiB
Output model: model_edgetpu.tflite
Output size: 5.49MiB
On-chip memory used for caching model parameters: 1.92MiB
On-chip memory remaining for caching model parameters: 1.75KiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 3
Operation log: model_edgetpu.log

Operator                       Count      Status

"""
TABLE = """TANH                           1          Mapped to Edge TPU
GATHER                         1          Operation not supported
RELU                           1          More than one subgraph is not supported
"""
FOOTER = "Compilation child process completed within timeout period.\nCompilation succeeded! \n"
GOOD = HEADER + FIGURES + TABLE + FOOTER
PREDICTION = predict(chain([("TANH", 1), ("GATHER", 1), ("RELU", 1)]))


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put an ``edgetpu_compiler`` with the given Python body on PATH; it can use ``args``, ``out`` and ``log``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def write(body: str) -> None:
        program = folder / "edgetpu_compiler"
        prologue = (
            "import os, pathlib, subprocess, sys, time\n"
            "args = sys.argv[1:]\n"
            "out = pathlib.Path(args[args.index('--out_dir') + 1])\n"
            f"log = {GOOD!r}\n"
        )
        program.write_text(f"#!{sys.executable}\n{prologue}{body}\n", encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    return write


SUCCESS = "print(log); (out / 'model_edgetpu.tflite').write_bytes(b'compiled ' + pathlib.Path(args[-1]).read_bytes())"


def test_the_figures_of_a_successful_log() -> None:
    log = parse_log(GOOD)
    assert (log.version, log.success, log.failure, log.compile_ms) == ("16.0.384591198", True, "", 1379)
    assert log.on_chip_used == round(1.92 * 2**20)
    assert log.on_chip_remaining == round(1.75 * 2**10)
    assert (log.off_chip, log.subgraphs, log.total_ops, log.mapped) == (0, 1, 3, 1)
    assert log.counts() == {
        ("TANH", limits.MAPPED): 1,
        ("GATHER", limits.NOT_SUPPORTED): 1,
        ("RELU", limits.ONE_SUBGRAPH): 1,
    }


@pytest.mark.parametrize("status", limits.STATUSES)
def test_statuses_of_several_words_are_kept_whole(status: str) -> None:
    log = parse_log(f"{FIGURES}RESIZE_NEAREST_NEIGHBOR        12         {status}  \n{FOOTER}")
    assert [(row.operator, row.count, row.status) for row in log.ops] == [("RESIZE_NEAREST_NEIGHBOR", 12, status)]


def test_a_delegate_search_is_judged_by_its_last_attempt() -> None:
    failed = (
        "ERROR: Restored original execution plan after delegate application failure.\n"
        "Compilation failed: Compilation failed due to large activation tensors in model.\n"
        "Compilation child process completed within timeout period.\nCompilation failed! \n"
    )
    log = parse_log(HEADER + failed + "Try to compile segment with 2 ops\n" + FIGURES + TABLE + FOOTER)
    assert log.success
    assert log.failure == ""
    assert len(log.ops) == 3
    twice = GOOD.replace("1.92MiB", "7.00MiB").replace("subgraphs: 1", "subgraphs: 9") + GOOD
    assert parse_log(twice) == parse_log(GOOD)


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        (
            "ERROR: Op builtin_code out of range: 150. Are you using old TFLite binary with newer model?\n"
            "ERROR: Registration failed.\n\nInvalid model: model.tflite\nModel could not be parsed\n",
            "Op builtin_code out of range: 150",
        ),
        (
            "ERROR: Didn't find op for builtin opcode 'EXP' version '2'. An older version might be supported.\n",
            "Didn't find op for builtin opcode 'EXP' version '2'",
        ),
        ("\nInternal compiler error. Aborting! \n", "Internal compiler error. Aborting!"),
        (
            "Compilation failed: Compilation failed due to large activation tensors in model.\nCompilation failed! \n",
            "Compilation failed due to large activation tensors in model",
        ),
        ("Error: compilation did not converge in time.\n", "Error: compilation did not converge in time."),
        ("ERROR: Some other thing\n", "Some other thing"),
        ("Compilation failed! \n", "Compilation failed!"),
        ("", "Started a compilation timeout timer of 180 seconds."),
    ],
)
def test_failures_are_named(text: str, failure: str) -> None:
    log = parse_log(HEADER + text)
    assert not log.success
    assert log.failure == failure
    assert reconcile(PREDICTION, log).status == f"compile failed: {failure}"


def test_an_empty_log() -> None:
    assert parse_log("") == CompilerLog(None, False, "no output", None, None, None, None, None, None, ())


@given(st.text())
def test_any_text_is_parsed(text: str) -> None:
    log = parse_log(text)
    assert not log.success
    assert log.failure
    assert log.ops == ()


@given(
    st.lists(
        st.sampled_from([*GOOD.splitlines(keepends=True), "x" * 50, "Count ", ": ", "٣", "-1", "1e9MiB"]), max_size=40
    )
)
def test_shuffled_pieces_of_a_log_are_parsed(pieces: list[str]) -> None:
    log = parse_log("".join(pieces))
    assert log.mapped <= sum(row.count for row in log.ops)
    assert log.success or not log.ops
    assert all(size is None or size >= 0 for size in (log.on_chip_used, log.on_chip_remaining, log.off_chip))
    json.dumps(reconcile(PREDICTION, log).to_json())


def test_a_long_hostile_line_does_not_take_long() -> None:
    start = time.perf_counter()
    parse_log(FIGURES + "A 1 " + "b " * 500_000 + "\n" + "A" * 1_000_000 + "\n" + "A 1" + " " * 1_000_000 + "x")
    assert time.perf_counter() - start < 5


def test_a_prediction_without_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_compiler() is None
    reconciliation, run = compile_and_reconcile(b"model", PREDICTION)
    assert (reconciliation.status, run) == ("predicted, not compiled", None)
    with pytest.raises(ToolNotFound) as error:
        compile_model(b"model")
    assert error.value.exit_code == 6


def test_an_agreeing_run(install: Install) -> None:
    install(SUCCESS)
    reconciliation, run = compile_and_reconcile(b"model", PREDICTION)
    assert run is not None
    assert run.compiled == b"compiled model"
    assert (reconciliation.status, reconciliation.agreements, reconciliation.differing) == ("compiled", 3, 0)
    assert reconciliation.differences == ()


def test_the_command_line(install: Install) -> None:
    install("print(args, os.getcwd() == str(out))")
    run = compile_model(b"model")
    arguments = run.text[: run.text.index("]") + 1].replace("'", '"')
    words = json.loads(arguments)
    assert words[0] == "--out_dir"
    assert words[2:-1] == [
        "--show_operations",
        "--search_delegate",
        "--delegate_search_step",
        "30",
        "--timeout_sec",
        "180",
    ]
    assert words[-1] == os.path.join(words[1], "model.tflite")
    assert run.text.endswith("True\n")
    assert not Path(words[1]).exists()


def test_a_differing_run_says_which_ops(install: Install) -> None:
    install("log = log.replace('Operation not supported', 'Mapped to Edge TPU')\n" + SUCCESS)
    reconciliation, _ = compile_and_reconcile(b"model", PREDICTION)
    assert reconciliation.status == "compiled, prediction differs in 1 op"
    assert [(d.operator, d.status, d.predicted, d.compiled) for d in reconciliation.differences] == [
        ("GATHER", limits.MAPPED, 0, 1),
        ("GATHER", limits.NOT_SUPPORTED, 1, 0),
    ]


def test_success_with_nothing_mapped_is_detected(install: Install) -> None:
    install("log = log.replace('Mapped to Edge TPU', 'Operation not supported')\n" + SUCCESS)
    reconciliation, _ = compile_and_reconcile(b"model", PREDICTION)
    assert reconciliation.status == "compiled, prediction differs in 1 op, but 0 operators mapped (edgetpu#225)"
    without_table = parse_log(FIGURES.replace("subgraphs: 1", "subgraphs: 0"))
    assert reconcile(PREDICTION, without_table).status == "compiled, but 0 operators mapped (edgetpu#225)"
    assert reconcile(PREDICTION, parse_log(FIGURES)).status == "compiled, but the log has no operator table"


def test_a_non_zero_exit_is_a_failure_whatever_the_log_claims(install: Install) -> None:
    install(SUCCESS + "\nsys.exit(3)")
    reconciliation, run = compile_and_reconcile(b"model", PREDICTION)
    assert run is not None
    assert (run.compiled, run.returncode) == (b"", 3)
    assert reconciliation.status == "compile failed: exit status 3"


def test_success_without_a_compiled_model_is_a_failure(install: Install) -> None:
    install("print(log)")
    assert compile_and_reconcile(b"model", PREDICTION)[0].status == "compile failed: the compiler wrote no model"


def test_garbage_is_a_failure(install: Install) -> None:
    install("sys.stdout.buffer.write(bytes(range(256)) * 50)")
    reconciliation, _ = compile_and_reconcile(b"model", PREDICTION)
    assert reconciliation.status.startswith("compile failed: ")


def test_a_compiler_that_hangs_is_stopped_with_its_children(install: Install, tmp_path: Path) -> None:
    lock, ready = tmp_path / "lock", tmp_path / "ready"
    child = (
        "import fcntl, pathlib, time\n"
        f"file = open({str(lock)!r}, 'w')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(60)\n"
    )
    install(f"subprocess.Popen([sys.executable, '-c', {child!r}])\nprint(log, flush=True)\ntime.sleep(60)")
    start = time.monotonic()
    reconciliation, run = compile_and_reconcile(b"model", PREDICTION, timeout_s=2.0)
    assert time.monotonic() - start < 30
    assert reconciliation.status == "compile failed: stopped after 2 s"
    assert run is not None
    assert (run.returncode, run.compiled) == (None, b"")
    assert ready.exists()
    assert _released(lock)


def _released(lock: Path) -> bool:
    """Whether the process that holds the lock is gone; the kernel ends a killed one a little later."""
    deadline = time.monotonic() + 10
    with lock.open("w") as file:
        while time.monotonic() < deadline:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.02)
            else:
                return True
    return False


def test_a_program_for_another_machine_cannot_be_started(install: Install) -> None:
    install("")
    program = find_compiler()
    assert program is not None
    program.write_bytes(b"\x7fELF not for this machine")
    with pytest.raises(BackendError, match="cannot be started"):
        compile_model(b"model")
