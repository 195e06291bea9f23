"""Every pass by the name that a pipeline spec calls it, and its options from text."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from typing import Any

import edgevit.passes
from edgevit.errors import PassError, UsageError
from edgevit.passes.base import Pass


@cache
def registry() -> Mapping[str, type[Pass]]:
    """The pass classes of all modules of ``edgevit.passes``, by ``NAME``.

    Raises PassError when two have one name.
    """
    found: dict[str, type[Pass]] = {}
    for module in pkgutil.iter_modules(edgevit.passes.__path__):
        source = importlib.import_module(f"{edgevit.passes.__name__}.{module.name}")
        for cls in vars(source).values():
            if (
                not inspect.isclass(cls)
                or cls.__module__ != source.__name__
                or not issubclass(cls, Pass)
                or not cls.NAME
            ):
                continue
            if cls.NAME in found:
                raise PassError(
                    f"two passes are named {cls.NAME!r}: {found[cls.NAME].__qualname__} and {cls.__qualname__}"
                )
            found[cls.NAME] = cls
    return types.MappingProxyType(dict(sorted(found.items())))


def make_pass(name: str, options: Mapping[str, str]) -> Pass:
    """The pass of that name with its options read from text.

    Raises UsageError for a name, an option or a value that it does not have.
    """
    cls = registry().get(name)
    if cls is None:
        raise UsageError(f"there is no pass {name!r}", hint=suggestion(name, registry()))
    names = [f.name for f in fields(cls)]
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for option, text in options.items():
        if option not in names:
            hint = suggestion(option, names) if names else "it has no options"
            raise UsageError(f"pass {name} has no option {option!r}", hint=hint)
        values[option] = _value(f"pass {name}, option {option}", text, hints[option])
    return cls(**values)


def suggestion(name: str, known: Iterable[str]) -> str:
    """A hint that names the known name closest to ``name``, or all of them when none is close."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"one of {', '.join(known)}"


def _value(where: str, text: str, hint: Any) -> Any:
    """``text`` as a value of the type ``hint``: bool, int, float, str, or one of them or ``none``."""
    allowed = typing.get_args(hint) or (hint,)
    if type(None) in allowed and text.lower() == "none":
        return None
    words = {"true": True, "false": False}
    if bool in allowed and text.lower() in words:
        return words[text.lower()]
    for kind in (int, float, str):
        if kind in allowed:
            try:
                return kind(text)
            except ValueError:
                continue
    expected = ", ".join(getattr(kind, "__name__", str(kind)) for kind in allowed)
    raise UsageError(f"{text!r} is not of type {expected}", where=where)
