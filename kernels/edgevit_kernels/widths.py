"""Declared widths of intermediate values: what a form promises, checked when it is prepared and again by the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction

from edgevit.errors import QuantError

Watch = Callable[[str, int], None]
"""Called with the name and the value of every intermediate that has a declared width."""


@dataclass(frozen=True)
class Width:
    """The interval [low, high] that an intermediate value stays in, and the signed bits that it is given."""

    name: str
    low: int
    high: int
    bits: int = 32

    @property
    def fits(self) -> bool:
        """Whether the interval lies in the signed integers of that many bits."""
        half: int = 2 ** (self.bits - 1)
        return -half <= self.low and self.high < half


def unwatched(name: str, value: int) -> None:
    """The watch of a run that nobody looks at."""


def refuse_overflow(widths: Iterable[Width], form: str, hint: str) -> None:
    """Raises QuantError that names the first value that does not fit its width."""
    for width in widths:
        if not width.fits:
            raise QuantError(
                f"{form}: {width.name} reaches {width.low} .. {width.high}, beyond {width.bits} signed bits", hint=hint
            )


def round_half_up(value: Fraction) -> int:
    """The nearest integer, ties towards plus infinity."""
    return (value + Fraction(1, 2)).__floor__()
