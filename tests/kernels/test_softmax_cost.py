"""Integer operations an element that each form's specification performs, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from edgevit_kernels.softmax import forms

OPERATORS = {
    "add": "add sub and",
    "multiply": "mul",
    "divide": "floordiv",
    "shift": "lshift rshift",
    "compare": "lt gt le",
}


class Counted(int):
    """An integer that counts the operations on it, in ``Counted.counts``."""

    counts: ClassVar[Counter[str]] = Counter()


def _counting(kind: str, name: str) -> Callable[..., Any]:
    plain = getattr(int, name)

    def operator(*operands: int) -> Any:
        Counted.counts[kind] += 1
        result = plain(*operands)
        return result if isinstance(result, bool) else Counted(result)

    return operator


for _kind, _names in OPERATORS.items():
    for _name in _names.split():
        setattr(Counted, f"__{_name}__", _counting(_kind, f"__{_name}__"))
        if _kind != "compare":
            setattr(Counted, f"__r{_name}__", _counting(_kind, f"__r{_name}__"))


class CountedTable(tuple[int, ...]):
    """A table that counts its lookups."""

    def __getitem__(self, index: Any) -> Any:
        Counted.counts["lookup"] += 1
        return Counted(super().__getitem__(index))


def cost(name: str, monkeypatch: pytest.MonkeyPatch, **options: Any) -> dict[str, int]:
    """Operations an element: a row of 129 scores less one of 65, over 64."""
    spec: Any = forms()[name].spec
    monkeypatch.setattr(spec, "check_row", lambda x, p: None)
    params = spec.prepare(0.0625, 256, **options)
    if name == "table":
        params = replace(params, near=CountedTable(params.near), far=CountedTable(params.far))
    row = [Counted((37 * i) % 251 - 125) for i in range(129)]
    totals = []
    for length in (65, 129):
        Counted.counts = Counter()
        spec.trace(row[:length], params)
        totals.append(Counted.counts)
    return {kind: round((totals[1][kind] - totals[0][kind]) / 64) for kind in sorted(totals[1]) if totals[1][kind] > 9}


COSTS = {
    "ivit": {"add": 6, "compare": 3, "divide": 1, "multiply": 2, "shift": 4},
    "ivit_repaired": {"add": 9, "compare": 2, "divide": 1, "multiply": 2, "shift": 6},
    "ibert": {"add": 9, "compare": 4, "divide": 1, "multiply": 4, "shift": 3},
    "ibert_repaired": {"add": 8, "compare": 2, "divide": 1, "multiply": 4, "shift": 5},
    "fqvit": {"add": 8, "compare": 3, "divide": 2, "multiply": 6, "shift": 1},
    "fqvit_repaired": {"add": 6, "compare": 18, "divide": 1, "multiply": 2, "shift": 3},
    "table": {"add": 3, "compare": 1, "lookup": 1, "multiply": 1, "shift": 1},
}


@pytest.mark.parametrize("name", COSTS)
def test_operations_an_element(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Divisions by the constant x0 are counted; a compiler makes a multiplication and a shift of them."""
    options = {"exponential_bits": 64} if name in ("ibert", "fqvit") else {}
    assert cost(name, monkeypatch, **options) == COSTS[name]


def test_operations_an_element_of_the_two_level_table(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {"add": 5, "compare": 1, "lookup": 2, "multiply": 2, "shift": 3}
    assert cost("table", monkeypatch, score_bits=16) == expected


@pytest.mark.parametrize("name", COSTS)
def test_the_page_states_the_cost(name: str, repo: Path) -> None:
    kinds = ("add", "multiply", "divide", "shift", "compare", "lookup")
    cells = " | ".join(str(COSTS[name].get(kind, 0)) for kind in kinds)
    page = (repo / "docs/semantics/softmax.md").read_text(encoding="utf-8")
    assert f"| `{name}` | {cells} | {sum(COSTS[name].values())} |" in page
