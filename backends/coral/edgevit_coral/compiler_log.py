"""Reading what edgetpu_compiler prints, and comparing it with the prediction.

The log is text of a closed-source program: nothing in it is relied on to be there, and no input makes the parser raise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingType
from dataclasses import asdict, dataclass

from .limits import MAPPED
from .mapping import Mapping

_VERSION = re.compile(r"^Edge TPU Compiler version (\S+)", re.MULTILINE)
_SUCCESS = re.compile(r"^Model compiled successfully in ([0-9]{1,12}) ?ms", re.MULTILINE)
_TABLE = re.compile(r"^Operator[ \t]+Count[ \t]+Status[ \t]*$", re.MULTILINE)
_ROW = re.compile(r"([A-Za-z][\w.-]*)[ \t]+([0-9]{1,9})[ \t]+(\S.*)")
_SIZE = re.compile(r"([0-9.]{1,20}) ?([KMGT]i)?B")
_UNITS: MappingType[str | None, int] = {None: 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_FAILURES = (
    re.compile(r"Op builtin_code out of range: ?\d+"),
    re.compile(r"Didn't find op for builtin opcode '[^'\n]{1,80}' version '[^'\n]{1,20}'"),
    re.compile(r"Internal compiler error\. Aborting!"),
    re.compile(r"[^\n]{0,200}did not converge in time[^\n]{0,200}"),
    re.compile(r"Attempting to use a delegate that only supports static-sized tensors[^\n]{0,200}"),
    re.compile(r"Compilation failed due to large activation tensors in model"),
    re.compile(r"(?<=Compilation failed: )[^\n]{1,300}"),
    re.compile(r"(?<=ERROR: )[^\n]{1,300}"),
    re.compile(r"Model could not be parsed"),
    re.compile(r"Compilation failed!"),
)
"""Most telling first: a failure prints several of them."""


@dataclass(frozen=True)
class OpCount:
    """A row of the operator table."""

    operator: str
    count: int
    status: str


@dataclass(frozen=True)
class CompilerLog:
    """What a run of the compiler said; None where it did not say it. Sizes in bytes, as rounded by the compiler's two
    decimals.

    With ``--search_delegate`` the log holds several attempts: the figures are those of the last, successful one.
    """

    version: str | None
    success: bool
    failure: str
    compile_ms: int | None
    on_chip_used: int | None
    on_chip_remaining: int | None
    off_chip: int | None
    subgraphs: int | None
    total_ops: int | None
    ops: tuple[OpCount, ...]

    @property
    def mapped(self) -> int:
        """Operators mapped to the Edge TPU, by the table."""
        return sum(row.count for row in self.ops if row.status == MAPPED)

    @property
    def nothing_mapped(self) -> bool:
        """Success was reported although no operator reached the Edge TPU (google-coral/edgetpu#225)."""
        return self.success and self.mapped == 0 and (bool(self.ops) or self.subgraphs == 0)

    def counts(self) -> dict[tuple[str, str], int]:
        """Number of operators by (operator, status)."""
        table: dict[tuple[str, str], int] = {}
        for row in self.ops:
            table[row.operator, row.status] = table.get((row.operator, row.status), 0) + row.count
        return table


def parse_log(text: str) -> CompilerLog:
    """Parse the output of edgetpu_compiler; text that is no such output gives a log without success."""
    version = _VERSION.search(text)
    successes = list(_SUCCESS.finditer(text))
    final = text[successes[-1].start() :] if successes else ""
    return CompilerLog(
        version=version[1] if version else None,
        success=bool(successes),
        failure="" if successes else _failure(text),
        compile_ms=int(successes[-1][1]) if successes else None,
        on_chip_used=_bytes(final, "On-chip memory used for caching model parameters"),
        on_chip_remaining=_bytes(final, "On-chip memory remaining for caching model parameters"),
        off_chip=_bytes(final, "Off-chip memory used for streaming uncached model parameters"),
        subgraphs=_number(final, "Number of Edge TPU subgraphs"),
        total_ops=_number(final, "Total number of operations"),
        ops=_rows(final),
    )


def _failure(text: str) -> str:
    for pattern in _FAILURES:
        match = pattern.search(text)
        if match:
            return match[0].strip()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no output"


def _field(text: str, label: str) -> str:
    match = re.search(rf"^{re.escape(label)}:[ \t]*([^\n]{{0,80}})", text, re.MULTILINE)
    return match[1].strip() if match else ""


def _number(text: str, label: str) -> int | None:
    match = re.fullmatch(r"[0-9]{1,9}", _field(text, label))
    return int(match[0]) if match else None


def _bytes(text: str, label: str) -> int | None:
    match = _SIZE.fullmatch(_field(text, label))
    if match is None:
        return None
    try:
        return round(float(match[1]) * _UNITS[match[2]])
    except ValueError:
        return None


def _rows(text: str) -> tuple[OpCount, ...]:
    header = _TABLE.search(text)
    if header is None:
        return ()
    rows = []
    for line in text[header.end() :].splitlines():
        match = _ROW.fullmatch(line.rstrip())
        if match:
            rows.append(OpCount(match[1], int(match[2]), match[3]))
        elif line.strip() and rows:
            break
    return tuple(rows)


@dataclass(frozen=True)
class Difference:
    """Operators of one kind and status that the prediction and the compiler count differently."""

    operator: str
    status: str
    predicted: int
    compiled: int


@dataclass(frozen=True)
class Reconciliation:
    """Prediction against compiler.

    ``status`` is the line for a report. ``agreements`` counts the operators on which both give the same status,
    ``differing`` the rest; both are 0 when there is nothing to compare.
    """

    status: str
    agreements: int
    differing: int
    differences: tuple[Difference, ...]
    log: CompilerLog | None

    def to_json(self) -> dict[str, object]:
        """The reconciliation as JSON types."""
        log = None
        if self.log is not None:
            log = {**asdict(self.log), "ops": [asdict(row) for row in self.log.ops], "mapped": self.log.mapped}
        return {
            "status": self.status,
            "agreements": self.agreements,
            "differing": self.differing,
            "differences": [asdict(difference) for difference in self.differences],
            "log": log,
        }


def reconcile(prediction: Mapping, log: CompilerLog | None) -> Reconciliation:
    """Compare a prediction with the log of a run, or with None where the compiler was not run."""
    if log is None:
        return Reconciliation("predicted, not compiled", 0, 0, (), None)
    if not log.success:
        return Reconciliation(f"compile failed: {log.failure}", 0, 0, (), log)
    if not log.ops:
        reason = "0 operators mapped (edgetpu#225)" if log.nothing_mapped else "the log has no operator table"
        return Reconciliation(f"compiled, but {reason}", 0, 0, (), log)
    predicted, compiled = prediction.counts(), log.counts()
    keys = sorted({*predicted, *compiled})
    differences = tuple(
        Difference(*key, predicted.get(key, 0), compiled.get(key, 0))
        for key in keys
        if predicted.get(key) != compiled.get(key)
    )
    agreements = sum(min(predicted.get(key, 0), compiled.get(key, 0)) for key in keys)
    differing = max(sum(predicted.values()), sum(compiled.values())) - agreements
    ops = "op" if differing == 1 else "ops"
    status = f"compiled, prediction differs in {differing} {ops}" if differing else "compiled"
    if log.nothing_mapped:
        status += ", but 0 operators mapped (edgetpu#225)"
    return Reconciliation(status, agreements, differing, differences, log)
