"""What a backend is, and how one is found.

Backends are loaded by the entry-point group ``edgevit.backends`` and only when they are asked for; a name that is
registered twice or a plug-in that does not load is an error, never a warning.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol

from edgevit.errors import BackendError, UsageError
from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.types import Array
from edgevit.passes.base import Pass
from edgevit.passes.pipeline import PassRecord
from edgevit.quant.config import QuantConfig
from edgevit.quant.constraints import GridPolicy
from edgevit.report.model import DecisionRow, Fix, MappingReport, SizeReport

GROUP = "edgevit.backends"

OnPass = Callable[[PassRecord, Graph], None]


@dataclass(frozen=True)
class Problem:
    """An op that a target cannot take, why, and what would mend it."""

    loc: str
    op: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.loc or '?'}: {self.op}: {self.what}" + (f" (hint: {self.hint})" if self.hint else "")


@dataclass(frozen=True)
class Tool:
    """An external program or optional package: what the backend needs it for, whether it is there, how to get it."""

    name: str
    purpose: str
    found: str
    remedy: str
    required: bool = True


@dataclass(frozen=True, eq=False)
class Prepared:
    """A float graph in ops that the target has, and the choices made on the way."""

    graph: Graph
    decisions: Sequence[DecisionRow] = ()


@dataclass(frozen=True, eq=False)
class Lowered:
    """A graph in the target form. ``origin`` names, for its ops, the op of the quantized graph that has the same value,
    its elements in the same order.
    """

    graph: Graph
    origin: Mapping[Op, Op]


@dataclass(frozen=True, eq=False)
class Emitted:
    """What emission wrote into the folder of the bundle."""

    artifact: str
    status: str
    mapping: MappingReport | None
    size: SizeReport
    fixes: Sequence[Fix] = ()


class Backend(Protocol):
    """One target. Methods are called in this order; each gets what the one before it gave."""

    name: str
    description: str

    def tools(self) -> list[Tool]:
        """Every tool the backend can use, found or not."""
        ...

    def passes(self, config: QuantConfig) -> list[Pass]:
        """All float passes with their default options, for `inspect`."""
        ...

    def policy(self, options: Mapping[str, Any]) -> GridPolicy:
        """What the target demands of grids."""
        ...

    def prepare(
        self, graph: Graph, images: Array, config: QuantConfig, policy: GridPolicy, on_pass: OnPass | None
    ) -> Prepared:
        """The float graph rewritten for the target; ``images`` (S, H, W, 3) decide between forms."""
        ...

    def check(self, graph: Graph) -> list[Problem]:
        """Every op of a prepared graph that the target cannot take; not only the first."""
        ...

    def calibrated(self, graph: Graph) -> Graph:
        """Last changes to ranges before quantization."""
        ...

    def lower(self, graph: Graph) -> Lowered:
        """The quantized graph in the target's dialect."""
        ...

    def emit(self, graph: Graph, folder: Path, parameters: int, options: Mapping[str, Any]) -> Emitted:
        """Write the artifact and its own reports into ``folder``; ``parameters`` is the size of the float model."""
        ...

    def artifact_input(self, images: Array, options: Mapping[str, Any]) -> Array:
        """Pixels uint8 (S, H, W, 3) as the artifact takes them."""
        ...

    def run(self, folder: Path, inputs: Array, device: str) -> Array:
        """Run the artifact of a bundle: ``reference`` by edgevit's exact kernels, ``host`` by the target's run time,
        where there is one.
        """
        ...


def missing_tools(backend: Backend) -> list[Tool]:
    """The tools of a backend that are required and not there."""
    return [tool for tool in backend.tools() if tool.required and not tool.found]


def backend_names() -> list[str]:
    """The registered targets. Raises BackendError when two plug-ins claim one name."""
    return sorted(_entries())


def load_backend(name: str) -> Backend:
    """The backend of that name.

    Raises UsageError for an unknown name, BackendError for a plug-in that does not load.
    """
    entries = _entries()
    if name not in entries:
        near = difflib.get_close_matches(name, entries, n=1)
        known = ", ".join(sorted(entries)) or "none is installed"
        raise UsageError(f"no target {name!r}", hint=f"did you mean {near[0]!r}?" if near else f"targets: {known}")
    entry = entries[name]
    try:
        backend: Backend = entry.load()()
    except Exception as error:
        raise BackendError(
            f"the plug-in {entry.value} does not load: {error}", where=name, hint="reinstall the package that brings it"
        ) from error
    return backend


def _entries() -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        if entry.name in found and found[entry.name].value != entry.value:
            raise BackendError(
                f"registered twice: {found[entry.name].value} and {entry.value}",
                where=entry.name,
                hint="uninstall one of the packages",
            )
        found[entry.name] = entry
    return found
