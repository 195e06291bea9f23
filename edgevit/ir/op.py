"""The base of all ops. An op has exactly one result, so an op *is* the value that it computes.

An op class is a frozen dataclass whose fields are its operands (other ops, tuples of ops, or None) and its attributes.
The result type is inferred when it is not given. Ops are compared by identity: two ops with equal fields are two
values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np

from edgevit.errors import IRError
from edgevit.ir.types import TensorType

REGISTRY: dict[str, type[Op]] = {}
"""Every op class by its name in the text form. A backend's dialect registers by being imported."""

OpT = TypeVar("OpT", bound="Op")
_UNSET = TensorType(())


@dataclass(frozen=True, eq=False, kw_only=True)
class Op:
    """One node of the graph and its value.

    ``type`` is the result type, ``loc`` the module path in the source model (``blocks.3.attn.qkv``).
    """

    type: TensorType = _UNSET
    loc: str = ""
    NAME: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        name = cls.__dict__.get("NAME", "")
        if not name:
            return
        if name in REGISTRY:
            raise IRError(f"two op classes are named {name!r}: {REGISTRY[name].__qualname__} and {cls.__qualname__}")
        REGISTRY[name] = cls

    def __post_init__(self) -> None:
        if self.type is _UNSET:
            object.__setattr__(self, "type", self.infer())

    def infer(self) -> TensorType:
        """The result type that follows from operands and attributes, without range or grid.

        Raises IRError when the operands do not fit the op.
        """
        raise IRError(f"{type(self).__name__} cannot infer its type", hint="pass type= when building it")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def operands(self) -> tuple[Op, ...]:
        """All operands in field order; absent optional ones are left out."""
        found: list[Op] = []
        for name in field_names(type(self)):
            value = getattr(self, name)
            if isinstance(value, Op):
                found.append(value)
            elif isinstance(value, tuple) and value and isinstance(value[0], Op):
                found.extend(value)
        return tuple(found)

    @property
    def attributes(self) -> dict[str, Any]:
        """All fields that are not operands, by name (an absent optional operand counts as the attribute None)."""
        return {
            name: value
            for name in field_names(type(self))
            if not isinstance(value := getattr(self, name), Op)
            and not (isinstance(value, tuple) and value and isinstance(value[0], Op))
        }

    def map_operands(self: OpT, replace: Callable[[Op], Op]) -> OpT:
        """The same op on replaced operands; itself when nothing changed. The result type is kept."""
        changed: dict[str, Any] = {}
        for name in field_names(type(self)):
            value = getattr(self, name)
            if isinstance(value, Op):
                new: Any = replace(value)
                if new is not value:
                    changed[name] = new
            elif isinstance(value, tuple) and value and isinstance(value[0], Op):
                new = tuple(replace(item) for item in value)
                if any(a is not b for a, b in zip(new, value, strict=True)):
                    changed[name] = new
        return dataclasses.replace(self, **changed) if changed else self

    def with_type(self: OpT, type: TensorType) -> OpT:
        return dataclasses.replace(self, type=type)

    def fail(self, what: str, hint: str = "") -> IRError:
        """An IRError that names this op and its place."""
        return IRError(f"{self.NAME}: {what}", where=self.loc, hint=hint)


def field_names(cls: type[Op]) -> tuple[str, ...]:
    """The operand and attribute fields of an op class, in order."""
    names = _FIELDS.get(cls)
    if names is None:
        names = _FIELDS[cls] = tuple(f.name for f in dataclasses.fields(cls) if f.name not in ("type", "loc"))
    return names


_FIELDS: dict[type[Op], tuple[str, ...]] = {}


def same_attributes(a: Op, b: Op) -> bool:
    """Whether two ops are of one class with equal attributes (arrays by content); operands are not compared."""
    if type(a) is not type(b):
        return False
    left, right = a.attributes, b.attributes
    return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)


def _same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return (
            isinstance(a, np.ndarray)
            and isinstance(b, np.ndarray)
            and a.dtype == b.dtype
            and a.shape == b.shape
            and a.tobytes() == b.tobytes()
        )
    return bool(a == b)


def count_uses(ops: tuple[Op, ...], outputs: tuple[Op, ...]) -> Mapping[Op, int]:
    """How often each op is an operand or an output."""
    uses: dict[Op, int] = dict.fromkeys(ops, 0)
    for op in ops:
        for operand in op.operands:
            uses[operand] = uses.get(operand, 0) + 1
    for op in outputs:
        uses[op] = uses.get(op, 0) + 1
    return uses
