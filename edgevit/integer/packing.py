"""The parameters of a kernel as a flat tuple of integers, which the text form of the IR prints and reads.

The layout follows the fields of the parameter class in order: an int or a bool is itself, a Fraction its numerator and
denominator, a string its length and its code points, a tuple of variable length its length and its items, a tuple of
fixed length its items, a dataclass its fields. Nothing is lost: ``unpack(type(p), pack(p)) == p``.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import Any, TypeVar

from edgevit.errors import IRError

T = TypeVar("T")


def pack(params: object) -> tuple[int, ...]:
    """The integers of a parameter dataclass."""
    assert dataclasses.is_dataclass(params)
    return tuple(_flatten(params, type(params)))


def unpack(cls: type[T], numbers: tuple[int, ...]) -> T:
    """The parameters that ``numbers`` stand for. Raises IRError for too many of them, too few or impossible ones."""
    rest = iter(numbers)
    try:
        params: T = _build(cls, rest)
        left = sum(1 for _ in rest)
    except (StopIteration, RuntimeError, ValueError, ZeroDivisionError, OverflowError):
        raise IRError(f"{len(numbers)} integers are no parameters of {cls.__module__}") from None
    if left:
        raise IRError(f"{left} of {len(numbers)} integers are left over by the parameters of {cls.__module__}")
    return params


@cache
def _hints(cls: type) -> tuple[tuple[str, Any], ...]:
    """Name and resolved type of every field, in order."""
    hints = typing.get_type_hints(cls)
    return tuple((field.name, hints[field.name]) for field in dataclasses.fields(cls))


def _flatten(value: Any, kind: Any) -> Iterator[int]:
    if kind in (int, bool):
        yield int(value)
    elif kind is Fraction:
        yield from value.as_integer_ratio()
    elif kind is str:
        yield len(value)
        yield from map(ord, value)
    elif typing.get_origin(kind) is tuple:
        items = typing.get_args(kind)
        if items[1:] == (Ellipsis,):
            yield len(value)
            items = items[:1] * len(value)
        for item, one in zip(value, items, strict=True):
            yield from _flatten(item, one)
    elif dataclasses.is_dataclass(kind):
        for name, one in _hints(typing.cast(type, kind)):
            yield from _flatten(getattr(value, name), one)
    else:
        raise IRError(f"no integers stand for a field of type {kind}")


def _build(kind: Any, rest: Iterator[int]) -> Any:
    if kind in (int, bool):
        return kind(next(rest))
    if kind is Fraction:
        return Fraction(next(rest), next(rest))
    if kind is str:
        return "".join(chr(next(rest)) for _ in range(next(rest)))
    if typing.get_origin(kind) is tuple:
        items = typing.get_args(kind)
        if items[1:] == (Ellipsis,):
            items = items[:1] * next(rest)
        return tuple([_build(one, rest) for one in items])
    if dataclasses.is_dataclass(kind):
        return typing.cast(type, kind)(**{name: _build(one, rest) for name, one in _hints(typing.cast(type, kind))})
    raise IRError(f"no integers stand for a field of type {kind}")
