"""Which operators of a TensorFlow Lite model edgetpu_compiler 16 would put on the Edge TPU, why not the others, and
what would mend it.

`predict` judges a model without the compiler, which is closed source and seldom at hand. By default the compiler
makes one Edge TPU partition: the operators that can be mapped and that depend on none that cannot. What follows from
an unmapped operator runs on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from . import limits
from .limits import Evidence
from .mapping_rules import Problem, notes, problems
from .memory import Memory, parameter_bytes, plan_memory
from .model import OperatorSpec, TfliteModel
from .partition import first_partition

_BLOCKED_REMEDY = "mend the unmapped op that it depends on"


@dataclass(frozen=True)
class OpMapping:
    """Verdict on one operator.

    ``status`` is in the compiler's words; ``why``, ``remedy`` and ``evidence`` belong to the first of ``problems``
    (empty ``why`` and ``remedy`` when mapped). ``blocked_by`` is the index of the unmapped op that cuts this one off,
    or -1. ``notes`` name what no compiled model has proven.
    """

    index: int
    operator: str
    version: int
    loc: str
    mapped: bool
    status: str
    why: str
    remedy: str
    evidence: Evidence
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    parameter_bytes: int
    blocked_by: int = -1


@dataclass(frozen=True)
class Fix:
    """One remedy and the ops (by index) that it changes.

    ``ops_freed`` is how many more ops reach the Edge TPU once it and the fixes before it are done.
    """

    remedy: str
    operator: str
    ops: tuple[int, ...]
    ops_freed: int
    why: str

    def __str__(self) -> str:
        return f"{self.operator} x{len(self.ops)}: {self.remedy} (frees {self.ops_freed} ops; {self.why})"


@dataclass(frozen=True)
class Summary:
    """Counts of a mapping. ``fraction`` is ``mapped / total`` in 0..1, and 0 for a model without operators."""

    mapped: int
    total: int
    subgraphs: int
    unproven: int
    rejected: str

    @property
    def fraction(self) -> float:
        """Share of the operators that runs on the Edge TPU."""
        return self.mapped / self.total if self.total else 0.0

    def __str__(self) -> str:
        if self.rejected:
            return f"rejected by the compiler: {self.rejected}"
        # Rounding must not turn 2999 of 3000 into 100 %.
        percent = 100.0 if self.mapped == self.total else min(100 * self.fraction, 99.9)
        subgraphs = f"{self.subgraphs} Edge TPU subgraph{'' if self.subgraphs == 1 else 's'}"
        return f"{self.mapped} of {self.total} ops mapped to the Edge TPU ({percent:.1f} %), {subgraphs}"


@dataclass(frozen=True, eq=False)
class Mapping:
    """Prediction for a whole model.

    ``rejected`` is the reason for which the compiler would compile nothing (empty if none), ``rejected_at_parse``
    whether its parser is what refuses. ``subgraphs`` counts Edge TPU partitions, ``min_runtime_version`` is None when
    every runtime can execute the ops.
    """

    ops: tuple[OpMapping, ...]
    rejected: str
    rejected_at_parse: bool
    memory: Memory
    min_runtime_version: int | None
    float_tensors: tuple[str, ...]
    warnings: tuple[str, ...]
    model: TfliteModel

    @property
    def subgraphs(self) -> int:
        """Edge TPU partitions of the compiled model, 0 or 1."""
        return int(any(op.mapped for op in self.ops))

    @property
    def summary(self) -> Summary:
        """How many operators are mapped, of how many, in how many Edge TPU subgraphs."""
        unproven = sum(op.mapped and bool(op.notes) for op in self.ops)
        return Summary(sum(op.mapped for op in self.ops), len(self.ops), self.subgraphs, unproven, self.rejected)

    def counts(self) -> dict[tuple[str, str], int]:
        """Number of operators by (operator, status), as in the table of a compiler log."""
        table: dict[tuple[str, str], int] = {}
        for op in self.ops:
            table[op.operator, op.status] = table.get((op.operator, op.status), 0) + 1
        return table

    def fixes(self, limit: int = 3) -> tuple[Fix, ...]:
        """The most useful fixes, at most ``limit``.

        Chosen greedily, each by the number of ops that it adds to the Edge TPU once the earlier ones are done. While
        the model is rejected no single fix frees anything, so what rejects it comes first.
        """
        remaining = [set(_keys(op.operator, op.problems)) for op in self.ops]
        rejecting = {key for op in self.ops for key in _keys(op.operator, [p for p in op.problems if p.rejects_model])}
        found: list[Fix] = []
        current = _count(self.model, remaining, rejecting)
        while len(found) < limit and any(remaining):
            best = max(
                dict.fromkeys(key for keys in remaining for key in sorted(keys)),
                key=lambda key: (
                    key in rejecting,
                    _count(self.model, _without(remaining, key), rejecting),
                    sum(key in keys for keys in remaining),
                ),
            )
            ops = tuple(index for index, keys in enumerate(remaining) if best in keys)
            remaining = _without(remaining, best)
            after = _count(self.model, remaining, rejecting)
            operator, remedy = best
            why = next(problem.why for problem in self.ops[ops[0]].problems if problem.remedy == remedy)
            found.append(Fix(remedy, operator, ops, after - current, why))
            current = after
        return tuple(found)

    def to_json(self) -> dict[str, object]:
        """The prediction as JSON types: summary, memory, warnings, the three best fixes and one entry per operator."""
        summary = self.summary
        return {
            "summary": {**asdict(summary), "fraction": summary.fraction, "text": str(summary)},
            "rejected_at_parse": self.rejected_at_parse,
            "memory": self.memory.to_json(),
            "min_runtime_version": self.min_runtime_version,
            "float_tensors": {"count": len(self.float_tensors), "names": list(self.float_tensors)},
            "warnings": list(self.warnings),
            "fixes": [{**asdict(fix), "ops": list(fix.ops)} for fix in self.fixes()],
            "ops": [
                {**asdict(op), "problems": [asdict(problem) for problem in op.problems], "notes": list(op.notes)}
                for op in self.ops
            ],
        }


_Key = tuple[str, str]


def _keys(operator: str, found: Sequence[Problem]) -> list[_Key]:
    return [(operator, problem.remedy) for problem in found]


def _without(remaining: list[set[_Key]], key: _Key) -> list[set[_Key]]:
    return [keys - {key} for keys in remaining]


def _count(model: TfliteModel, remaining: list[set[_Key]], rejecting: set[_Key]) -> int:
    if any(keys & rejecting for keys in remaining):
        return 0
    return sum(first_partition(model, [not keys for keys in remaining]).on_tpu)


def predict(model: TfliteModel) -> Mapping:
    """Predict what edgetpu_compiler 16 does with ``model`` by default (one partition, no delegate search)."""
    found = [problems(model, op) for op in model.operators]
    rejections = [(op, p) for op, each in zip(model.operators, found, strict=True) for p in each if p.rejects_model]
    partition = first_partition(model, [not each for each in found])
    ops = []
    for index, op in enumerate(model.operators):
        own = found[index]
        mapped = not rejections and partition.on_tpu[index]
        status, why, remedy, evidence, blocker = limits.MAPPED, "", "", _evidence(model, op), -1
        if own:
            status, why, remedy, evidence = own[0].status, own[0].why, own[0].remedy, own[0].evidence
        elif rejections:
            culprit, problem = rejections[0]
            status, evidence = problem.status, problem.evidence
            why, remedy = f"{culprit.name} stops the compiler: {problem.why}", problem.remedy
        elif not mapped:
            blocker = partition.blocked_by[index]
            status, evidence, remedy = limits.ONE_SUBGRAPH, "doc", _BLOCKED_REMEDY
            why = f"depends on {model.operators[blocker].name} (op {blocker}), which runs on the CPU"
        tags = notes(model, op) if mapped else ()
        size = sum(parameter_bytes(model, op).values())
        ops.append(
            OpMapping(
                index, op.name, op.version, op.loc, mapped, status, why, remedy, evidence, own, tags, size, blocker
            )
        )
    on_tpu = [op.index for op in ops if op.mapped]
    memory = plan_memory(model, on_tpu)
    versions = [
        limits.RUNTIME_VERSION[model.operators[i].name]
        for i in on_tpu
        if model.operators[i].name in limits.RUNTIME_VERSION
    ]
    floats = tuple(tensor.name for tensor in model.tensors if "float" in tensor.dtype)
    return Mapping(
        ops=tuple(ops),
        rejected=rejections[0][1].why if rejections else "",
        rejected_at_parse=any(problem.status == limits.NOT_PARSED for _, problem in rejections),
        memory=memory,
        min_runtime_version=max(versions, default=None),
        float_tensors=floats,
        warnings=_warnings(model, memory, floats),
        model=model,
    )


def _evidence(model: TfliteModel, op: OperatorSpec) -> Evidence:
    return "infer" if notes(model, op) else "artifact"


def _warnings(model: TfliteModel, memory: Memory, floats: tuple[str, ...]) -> tuple[str, ...]:
    found = []
    if memory.peak_activation_bytes > limits.ON_CHIP_BYTES:
        found.append(
            f"large activation tensors: {memory.peak_activation_bytes / 2**20:.1f} MiB alive at once (the largest is "
            f"{memory.largest_activation!r}, {memory.largest_activation_bytes / 2**20:.1f} MiB) exceed the "
            f"{limits.ON_CHIP_BYTES / 2**20:.1f} MiB on chip: the compiler may fail; use smaller images"
        )
    if memory.streamed_bytes:
        found.append(
            f"{memory.streamed_bytes / 2**20:.2f} MiB of parameters do not fit on chip and are streamed "
            f"at every inference ({len(memory.streamed_ops)} ops)"
        )
    if floats:
        found.append(f"{len(floats)} float tensors: every op that touches one runs on the CPU")
    if model.subgraph_count > 1:
        found.append(
            f"the file has {model.subgraph_count} subgraphs; only the first is judged: the Edge TPU has no control flow"
        )
    return tuple(found)
