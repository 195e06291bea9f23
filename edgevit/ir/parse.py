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
from edgevit.ir.fields import field_types, fits
from edgevit.ir.graph import Form, Graph
from edgevit.ir.op import REGISTRY, Op
from edgevit.ir.types import Array, DType, Dyadic, Quant, Scale, TensorType

_TOKEN = re.compile(
    r"""(?:
    (?P<string>"(?:[^"\\]|\\.)*")
  | (?P<dyadic>-?\d+p-\d+)
  | (?P<number>-?(?:\d+\.\d*(?:e[+-]?\d+)?|\d+(?:e[+-]?\d+)?|(?:inf|nan)\b))
  | (?P<value>%\d+)
  | (?P<resource>@[0-9A-Za-z_.-]+)
  | (?P<word>[A-Za-z_][\w.]*)
  | (?P<mark>[()\[\]=,:])
    )""",
    re.VERBOSE,
)
_INTEGER = re.compile(r"-?\d+")
_HEADER = re.compile(r'graph @(?P<name>"(?:[^"\\]|\\.)*"|[^\s"]+) form=(?P<form>\w+)$')


def parse_graph(text: str, resources: Mapping[str, Array] | None = None) -> Graph:
    """The graph of a text form. ``resources`` holds the arrays that it names.

    Raises IRError with the line and a mark under the place for anything that the grammar or the fields of an op class
    do not allow. Whether operands fit their op is for ``verify`` to say.
    """
    lines = [(i + 1, line) for i, line in enumerate(text.splitlines()) if line.strip()]
    if not lines:
        raise IRError("empty text", hint="a graph begins with `graph @name form=float`")
    name, form = _header(*lines[0])
    values: dict[str, Op] = {}
    outputs: tuple[Op, ...] | None = None
    for number, line in lines[1:]:
        cursor = _Cursor(line, number, values, resources or {})
        if outputs is not None:
            cursor.fail("text after the `return` line")
        if cursor.peek() == "return":
            cursor.next()
            outputs = cursor.operand_list()
            continue
        result, op = cursor.statement()
        values[result] = op
    if outputs is None:
        raise IRError("the graph has no `return` line")
    return Graph(name, tuple(values.values()), outputs, form)


def _header(number: int, line: str) -> tuple[str, Form]:
    header = _HEADER.match(line.strip())
    if header is None:
        raise IRError(f"line {number}: expected `graph @name form=...`\n  {line}\n  ^")
    try:
        name = json.loads(header["name"]) if header["name"].startswith('"') else header["name"]
        return name, Form(header["form"])
    except json.JSONDecodeError:
        mark = line.index("@")
        raise IRError(f"line {number}: the name is no string\n  {line}\n  {' ' * mark}^") from None
    except ValueError:
        mark, known = line.rindex("form=") + len("form="), ", ".join(f.value for f in Form)
        what = f"line {number}: unknown form {header['form']!r}\n  {line}\n  {' ' * mark}^"
        raise IRError(what, hint=f"one of {known}") from None


@dataclass
class _Cursor:
    """A position in one line."""

    line: str
    number: int
    values: Mapping[str, Op]
    resources: Mapping[str, Array]
    position: int = 0

    def __post_init__(self) -> None:
        self.skip_blanks()

    def skip_blanks(self) -> None:
        while self.position < len(self.line) and self.line[self.position].isspace():
            self.position += 1

    def fail(self, what: str, at: int | None = None) -> NoReturn:
        mark = " " * (self.position if at is None else at)
        raise IRError(f"line {self.number}: {what}\n  {self.line}\n  {mark}^")

    def token(self) -> tuple[str, str, int]:
        if self.position == len(self.line):
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
        self.skip_blanks()
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
        start = self.position
        name = self.next("value")
        if name not in self.values:
            self.fail(f"{name} is not defined above", at=start)
        return self.values[name]

    def operand_list(self) -> tuple[Op, ...]:
        found = [self.operand()]
        while self.accept(","):
            found.append(self.operand())
        self.end()
        return tuple(found)

    def statement(self) -> tuple[str, Op]:
        result = self.next("value")
        if result in self.values:
            self.fail(f"{result} is defined twice", at=self.line.index(result))
        self.expect("=")
        start = self.position
        op_name = self.next("word")
        if op_name not in REGISTRY:
            self.fail(f"unknown op {op_name!r}", at=start)
        cls = REGISTRY[op_name]
        fields = self.fields(cls)
        self.expect(":")
        type = self.type()
        loc = ""
        if self.accept("loc"):
            loc = self.string()
        self.end()
        if isinstance(fields.get("data"), tuple):
            fields["data"] = self.inline_array(fields["data"], type, start)
        try:
            return result, cls(**fields, type=type, loc=loc)
        except TypeError as error:
            self.fail(f"{op_name}: {error}", at=start)

    def fields(self, cls: type[Op]) -> dict[str, Any]:
        declared = field_types(cls)
        self.expect("(")
        fields: dict[str, Any] = {}
        while not self.accept(")"):
            start = self.position
            name = self.next("word")
            if name not in declared or name in fields:
                what = "stands twice" if name in fields else f"is none of {', '.join(declared)}"
                self.fail(f"{cls.NAME}: field {name!r} {what}", at=start)
            self.expect("=")
            start = self.position
            value = fields[name] = self.field()
            # Small arrays are written as lists; they become arrays when the type is known.
            if not fits(value, declared[name]) and not (name == "data" and isinstance(value, tuple)):
                self.fail(f"{cls.NAME}: this cannot be its {name}", at=start)
            if self.peek() != ")":
                self.expect(",")
        return fields

    def inline_array(self, values: tuple[Any, ...], type: TensorType, start: int) -> Array:
        numbers = all(isinstance(value, (int, float)) for value in values)
        if not numbers or len(values) != type.size:
            self.fail(
                f"{len(values)} values for {type.size} elements" if numbers else "data of something else", at=start
            )
        if type.dtype.is_integer:
            lo, hi = type.dtype.limits
            if not all(isinstance(value, int) and lo <= value <= hi for value in values):
                self.fail(f"data outside of {type.dtype.value}", at=start)
        return np.array(values, type.dtype.numpy).reshape(type.shape)

    def field(self) -> Any:
        if not self.accept("["):
            return self.item()
        items = []
        while not self.accept("]"):
            items.append(self.item())
            if self.peek() != "]":
                self.expect(",")
        return tuple(items)

    def item(self) -> Any:
        kind, text, _ = self.token()
        if kind == "value":
            return self.operand()
        if kind == "resource":
            return self.resource()
        if kind == "string":
            return self.string()
        if kind == "number":
            self.next()
            return int(text) if _INTEGER.fullmatch(text) else float(text)
        words = {"none": None, "true": True, "false": False}
        if text not in words:
            self.fail(f"unexpected {text or 'end of the line'!r}")
        self.next()
        return words[text]

    def string(self) -> str:
        start = self.position
        try:
            text: str = json.loads(self.next("string"))
        except json.JSONDecodeError as error:
            self.fail(f"no string: {error.msg}", at=start)
        return text

    def integer(self) -> int:
        if not _INTEGER.fullmatch(self.peek()):
            self.fail(f"expected an integer, found {self.peek() or 'the end of the line'!r}")
        return int(self.next())

    def resource(self) -> Array:
        start = self.position
        name = self.next("resource")[1:]
        if name not in self.resources:
            self.fail(f"@{name} is not among the resources", at=start)
        return self.resources[name]

    def type(self) -> TensorType:
        start = self.position
        word = self.next("word")
        try:
            dtype = DType(word)
        except ValueError:
            self.fail(f"unknown element type {word!r}", at=start)
        self.expect("[")
        shape: list[int] = []
        while not self.accept("]"):
            shape.append(self.integer())
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
        start = self.position
        self.expect("(")
        scales: list[Scale] = []
        zero_points: list[int] = []
        axis: int | None = None
        while not self.accept(")"):
            if self.token()[0] == "resource":
                scales, zero_points = self.quant_table()
            elif self.accept("axis"):
                axis = self.integer()
            else:
                scales.append(self.scale())
                self.expect(":")
                zero_points.append(self.integer())
            if self.peek() != ")":
                self.expect(",")
        try:
            return Quant(tuple(scales), tuple(zero_points), axis)
        except IRError as error:
            self.fail(error.what, at=start)

    def quant_table(self) -> tuple[list[Scale], list[int]]:
        start = self.position
        table = self.resource()
        if table.ndim != 2 or table.shape[0] not in (2, 3):
            self.fail(f"a grid table of shape {list(table.shape)}", at=start)
        *head, zeros = table.tolist()
        scales: list[Scale] = [Dyadic(m, s) for m, s in zip(*head, strict=True)] if len(head) == 2 else list(head[0])
        return scales, [int(z) for z in zeros]

    def scale(self) -> Scale:
        if self.token()[0] == "dyadic":
            multiplier, shift = self.next().split("p-")
            return Dyadic(int(multiplier), int(shift))
        return float(self.next("number"))
