"""The fields of op classes as declared: what may stand in each.

Ops that are built in Python are checked by mypy, ops that are read from text by these functions.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgevit.ir.op import Op, field_names


def field_types(cls: type[Op]) -> Mapping[str, Any]:
    """The declared type of each operand and attribute field of an op class, in order."""
    if cls not in _FIELD_TYPES:
        hints = typing.get_type_hints(cls)
        _FIELD_TYPES[cls] = {name: hints[name] for name in field_names(cls)}
    return _FIELD_TYPES[cls]


_FIELD_TYPES: dict[type[Op], Mapping[str, Any]] = {}


def fits(value: object, declared: Any) -> bool:
    """Whether ``value`` may stand in a field declared so; an int may stand for a float, a bool for neither."""
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in arguments)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return all(fits(item, arguments[0]) for item in value)
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    if origin is np.ndarray:
        return isinstance(value, np.ndarray)
    if declared is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if declared is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, declared)
