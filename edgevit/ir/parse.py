"""Read the text form of a graph back. The grammar is that of ``edgevit.ir.text``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from edgevit.errors import IRError
from edgevit.ir import ops as _core_ops  # noqa: F401  (registers the core op classes)
from edgevit.ir.graph import Form, Graph
from edgevit.ir.op import REGISTRY, Op
from edgevit.ir.types import Array, DType, Dyadic, Quant, Scale, TensorType

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>"(?:[^"\\]|\\.)*")
  | (?P<dyadic>-?\d+p-\d+)
  | (?P<number>-?(?:\d+\.\d*(?:e[+-]?\d+)?|\d+(?:e[+-]?\d+)?|inf|nan))
  | (?P<value>%\d+)
  | (?P<resource>@[0-9A-Za-z_.-]+)
  | (?P<word>[A-Za-z_][\w.]*)
  | (?P<mark>[()\[\]=,:])
    )""",
    re.VERBOSE,
)
_HEADER = re.compile(r"graph @(?P<name>\S+) form=(?P<form>\w+)$")


def parse_graph(text: str, resources: Mapping[str, Array] | None = None) -> Graph:
    """The graph of a text form. ``resources`` holds the arrays that it names.

    Raises IRError with the line and a mark under the place for anything that the grammar or an op class does not allow.
    """
    lines = [(i + 1, line) for i, line in enumerate(text.splitlines()) if line.strip()]
    if not lines:
        raise IRError("empty text", hint="a graph begins with `graph @name form=float`")
    header = _HEADER.match(lines[0][1].strip())
    if header is None:
        raise IRError(f"line {lines[0][0]}: expected `graph @name form=...`")
    try:
        form = Form(header["form"])
    except ValueError:
        known = ", ".join(f.value for f in Form)
        raise IRError(f"line {lines[0][0]}: unknown form {header['form']!r}", hint=f"one of {known}") from None
    values: dict[str, Op] = {}
    for number, line in lines[1:]:
        cursor = _Cursor(line, number, values, dict(resources or {}))
        if cursor.peek() == "return":
            cursor.next()
            outputs = cursor.operand_list()
            return Graph(header["name"], tuple(values.values()), outputs, form)
        name, op = cursor.statement()
        if name in values:
            raise IRError(f"line {number}: {name} is defined twice")
        values[name] = op
    raise IRError("the graph has no `return` line")


@dataclass
class _Cursor:
    """A position in one line."""

    line: str
    number: int
    values: Mapping[str, Op]
    resources: Mapping[str, Array]
    position: int = 0

    def fail(self, what: str) -> NoReturn:
        raise IRError(f"line {self.number}: {what}\n  {self.line}\n  {' ' * self.position}^")

    def token(self) -> tuple[str, str, int]:
        rest = self.line[self.position :]
        if not rest.strip():
            return "end", "", len(self.line)
        match = _TOKEN.match(self.line, self.position)
        if match is None or match.lastgroup is None:
            self.fail("unexpected character")
        return match.lastgroup, match[match.lastgroup], match.end()

    def peek(self) -> str:
        return self.token()[1]

    def next(self, kind: str = "") -> str:
        found, text, end = self.token()
        if kind and found != kind:
            self.fail(f"expected a {kind}, found {text or 'the end of the line'!r}")
        self.position = end
        return text

    def expect(self, mark: str) -> None:
        if self.peek() != mark:
            self.fail(f"expected {mark!r}, found {self.peek() or 'the end of the line'!r}")
        self.next()

    def accept(self, mark: str) -> bool:
        if self.peek() == mark:
            self.next()
            return True
        return False

    def end(self) -> None:
        if self.token()[0] != "end":
            self.fail("unexpected text")

    def operand(self) -> Op:
        name = self.next("value")
        if name not in self.values:
            self.fail(f"{name} is not defined above")
        return self.values[name]

    def operand_list(self) -> tuple[Op, ...]:
        found = [self.operand()]
        while self.accept(","):
            found.append(self.operand())
        self.end()
        return tuple(found)

    def statement(self) -> tuple[str, Op]:
        name = self.next("value")
        self.expect("=")
        op_name = self.next("word")
        if op_name not in REGISTRY:
            self.fail(f"unknown op {op_name!r}")
        self.expect("(")
        fields: dict[str, Any] = {}
        while not self.accept(")"):
            field = self.next("word")
            self.expect("=")
            fields[field] = self.field()
            if self.peek() != ")":
                self.expect(",")
        self.expect(":")
        type = self.type()
        loc = ""
        if self.accept("loc"):
            loc = json.loads(self.next("string"))
        self.end()
        if "data" in fields and not isinstance(fields["data"], np.ndarray):
            fields["data"] = np.array(fields["data"], type.dtype.numpy).reshape(type.shape)
        try:
            return name, REGISTRY[op_name](**fields, type=type, loc=loc)
        except TypeError as error:
            self.fail(f"{op_name}: {error}")

    def field(self) -> Any:
        kind, text, _ = self.token()
        if kind == "value":
            return self.operand()
        if kind == "resource":
            return self.resource()
        if self.accept("["):
            items = []
            while not self.accept("]"):
                items.append(self.field())
                if self.peek() != "]":
                    self.expect(",")
            return tuple(items)
        self.next()
        if kind == "string":
            return json.loads(text)
        if kind == "number":
            return self.number_of(text)
        words = {"none": None, "true": True, "false": False, "inf": float("inf"), "nan": float("nan")}
        if text not in words:
            self.fail(f"unexpected {text!r}")
        return words[text]

    @staticmethod
    def number_of(text: str) -> int | float:
        return int(text) if re.fullmatch(r"-?\d+", text) else float(text)

    def resource(self) -> Array:
        name = self.next("resource")[1:]
        if name not in self.resources:
            self.fail(f"@{name} is not among the resources")
        return self.resources[name]

    def type(self) -> TensorType:
        word = self.next("word")
        try:
            dtype = DType(word)
        except ValueError:
            self.fail(f"unknown element type {word!r}")
        self.expect("[")
        shape: list[int] = []
        while not self.accept("]"):
            shape.append(int(self.next("number")))
            if self.peek() != "]":
                self.expect(",")
        limits: tuple[float, float] | None = None
        quant: Quant | None = None
        if self.accept("in"):
            self.expect("[")
            lo = float(self.next("number"))
            self.expect(",")
            limits = (lo, float(self.next("number")))
            self.expect("]")
        if self.accept("q"):
            quant = self.quant()
        return TensorType(tuple(shape), dtype, quant, limits)

    def quant(self) -> Quant:
        self.expect("(")
        scales: list[Scale] = []
        zero_points: list[int] = []
        axis: int | None = None
        while not self.accept(")"):
            if self.token()[0] == "resource":
                table = self.resource()
                *head, zeros = table.tolist()
                scales = [Dyadic(m, s) for m, s in zip(*head, strict=True)] if len(head) == 2 else list(head[0])
                zero_points = [int(z) for z in zeros]
            elif self.accept("axis"):
                axis = int(self.next("number"))
            else:
                scales.append(self.scale())
                self.expect(":")
                zero_points.append(int(self.next("number")))
            if self.peek() != ")":
                self.expect(",")
        return Quant(tuple(scales), tuple(zero_points), axis)

    def scale(self) -> Scale:
        if self.token()[0] == "dyadic":
            multiplier, shift = self.next().split("p-")
            return Dyadic(int(multiplier), int(shift))
        return float(self.next("number"))
