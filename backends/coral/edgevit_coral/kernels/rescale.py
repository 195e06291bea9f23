"""From integer accumulators to stored outputs, f(acc) = clamp(zero_point + round(acc * multiplier)), exactly and fast.

TFLite rounds in one of two ways: most kernels multiply by a fixed-point multiplier and round twice (FixedRescale),
the reference FULLY_CONNECTED multiplies by a double and rounds once (DoubleRescale). Either f does not decrease with
the accumulator, and neither does g(acc) = floor(acc * s + b) in floating point, as each of its roundings is
monotone. f has at most 255 steps. Two monotone functions that agree at both ends of every segment on which f is
constant agree everywhere, so g is used where it was *checked* to equal f at the ends of all segments, in float32 or
else in float64; where neither passes, f itself is evaluated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgevit.errors import QuantError
from edgevit_kernels.fixedpoint import ref

Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]

INT32 = 2**31

# Rows are handled in blocks of about this many elements, so that the passes over a block stay in the second-level
# cache.
BLOCK = 1 << 18


@dataclass(frozen=True)
class Rescale(ABC):
    """f for a tensor, or for each channel along the last axis: tuples of length 1 or C. Stored in [low, high]."""

    zero_point: int
    low: int
    high: int
    dtype: str

    def exact(self, acc: Ints) -> Ints:
        """f by its definition; channels along the last axis."""
        stored: Ints = np.clip(self._unclamped(acc), self.low, self.high)
        return stored

    @abstractmethod
    def channels(self, part: slice) -> Rescale:
        """f of some channels of it."""

    @abstractmethod
    def real(self) -> Doubles:
        """The multipliers as doubles, shape (1,) or (C,)."""

    @abstractmethod
    def room(self) -> Doubles:
        """Shape (1,) or (C,): accumulators of this magnitude or more overflow 32 bits on the way in C++."""

    def thresholds(self) -> Ints:
        """Shape (levels, C): the least 32-bit accumulator that gives low + 1, ..., high at least.

        -INT32 where every one does, INT32 where none does.
        """
        level = np.arange(self.low + 1, self.high + 1, dtype=np.int64)[:, None]
        with np.errstate(divide="ignore"):
            guess = np.ceil((level - self.zero_point - 0.5) / self.real())
        least: Ints = np.clip(np.nan_to_num(guess), -INT32, INT32).astype(np.int64)
        # The guess is a few units off where f rounds twice; walk to the step itself, which f itself tells.
        while True:
            inside = np.abs(least) < INT32
            down = inside & (self._unclamped(least - 1) >= level)
            up = inside & (self._unclamped(least) < level)
            if not (down.any() or up.any()):
                return least
            least += up
            least -= down

    @abstractmethod
    def _unclamped(self, acc: Ints) -> Ints:
        """f without its clamp."""

    def check(self, acc: NDArray[Any], bound: float) -> None:
        """Raise QuantError where 32 bits overflow in C++.

        ``bound`` is a proven bound on |acc|; the values are read only where it does not settle the matter.
        """
        room = self.room()
        if np.any(bound >= room) and np.any(np.abs(acc.astype(np.float64)) >= room):
            raise QuantError("an accumulator overflows 32 bits", hint="use a larger output scale or fewer terms")


@dataclass(frozen=True)
class FixedRescale(Rescale):
    """acc * multiplier * 2**(shift - 31), rounded twice (``fixedpoint.spec.multiply_by_quantized_multiplier``)."""

    multiplier: tuple[int, ...]
    shift: tuple[int, ...]

    @classmethod
    def of(cls, real: ArrayLike, zero_point: int, limits: tuple[int, int], dtype: str) -> FixedRescale:
        """Quantize real multipliers, doubles >= 0. Raises QuantError for one of 2**30 or more."""
        multiplier, shift = ref.quantize_multiplier(np.atleast_1d(np.asarray(real, dtype=np.float64)))
        if np.any(shift > 30):
            raise QuantError(
                f"a multiplier of {np.max(real):.3g}", hint="the output scale is far too small for its inputs"
            )
        return cls(zero_point, *limits, dtype, tuple(multiplier.tolist()), tuple(shift.tolist()))

    def _unclamped(self, acc: Ints) -> Ints:
        multiplier, shift = np.array(self.multiplier, np.int64), np.array(self.shift, np.int64)
        return ref.multiply_by_quantized_multiplier(acc, multiplier, shift) + self.zero_point

    def channels(self, part: slice) -> Rescale:
        return self if len(self.shift) == 1 else replace(self, multiplier=self.multiplier[part], shift=self.shift[part])

    def real(self) -> Doubles:
        return np.ldexp(np.array(self.multiplier, np.float64), np.array(self.shift) - 31)

    def room(self) -> Doubles:
        # acc * 2**left is int32, and so is the scaled value with the zero point added to it.
        room: Doubles = (INT32 - 512) / np.exp2(np.maximum(np.array(self.shift, np.float64), 0))
        return room


@dataclass(frozen=True)
class DoubleRescale(Rescale):
    """acc * scale in double, rounded once, ties away from zero."""

    scale: tuple[float, ...]

    def _unclamped(self, acc: Ints) -> Ints:
        product = acc.astype(np.float64) * np.array(self.scale)
        whole = np.trunc(product)
        # product - whole is exact, so this is the C library's round().
        rounded: Ints = (whole + np.sign(product) * (np.abs(product - whole) >= 0.5)).astype(np.int64)
        return rounded + self.zero_point

    def channels(self, part: slice) -> Rescale:
        return self if len(self.scale) == 1 else replace(self, scale=self.scale[part])

    def real(self) -> Doubles:
        return np.array(self.scale, np.float64)

    def room(self) -> Doubles:
        # The rounded product and its sum with the zero point are int32.
        room: Doubles = np.minimum(INT32 - 512, (INT32 - 512) / self.real())
        return room


@dataclass(frozen=True, eq=False)
class FloatPlan:
    """g(acc) = clamp(floor(acc * scale + offset + copysign(tilt, acc))); each of shape (1,) or (C,) and of one type,
    tilt >= 0.

    Rounding twice moves the steps of positive results down and of negative ones up, by one part in 2**(1 - shift):
    that is the tilt; None where there is no need of it. g does not decrease on either side of zero, nor from -1 to 0.
    """

    scale: Floats
    offset: Floats
    tilt: Floats | None

    def apply(self, acc: Floats, low: int, high: int) -> Floats:
        """g of integers in this plan's type; ``acc`` is overwritten and returned."""
        tilt = None if self.tilt is None else np.copysign(self.tilt, acc)
        np.multiply(acc, self.scale, out=acc)
        if tilt is None:
            np.add(acc, self.offset, out=acc)
        else:
            np.add(tilt, self.offset, out=tilt)
            np.add(acc, tilt, out=acc)
        np.floor(acc, out=acc)
        return np.clip(acc, low, high, out=acc)


@lru_cache(maxsize=512)
def float_plan(rescale: Rescale, limit: int) -> FloatPlan | None:
    """A plan whose g equals f for every integer |acc| <= limit < 2**31, or None.

    float32 where every such accumulator is exact in it and the check passes, else float64.
    """
    steps, scale = rescale.thresholds(), rescale.real()
    level = np.arange(rescale.low + 1, rescale.high + 1)[:, None]
    positive = level > rescale.zero_point
    both, above, below = (
        _offset(side, np.clip(steps, -limit, limit + 1), level, scale, limit, rescale.zero_point + 0.5)
        for side in (np.ones_like(positive), positive, ~positive)
    )
    ends = np.full((1, scale.size), limit, dtype=np.int64)
    # 0 and -1 are probed too: there g passes from one offset to the other.
    probes = np.clip(np.concatenate([steps, steps - 1, ends, -ends, 0 * ends, 0 * ends - 1]), -limit, limit)
    wanted = rescale.exact(probes)
    # Where the halves ask for a tilt the other way, which would break the order at zero, one offset serves both.
    tilt = np.maximum(above - below, 0) / 2
    amid = np.where(tilt > 0, (above + below) / 2, both)
    for kind in (np.float32, np.float64):
        if kind is np.float32 and limit >= 2**24:
            continue
        for plan in (
            FloatPlan(scale.astype(kind), both.astype(kind), None),
            FloatPlan(scale.astype(kind), amid.astype(kind), tilt.astype(kind)),
        ):
            if np.array_equal(plan.apply(probes.astype(kind), rescale.low, rescale.high), wanted):
                return plan
    return None


def _offset(side: NDArray[np.bool_], steps: Ints, level: Ints, scale: Doubles, limit: int, nominal: float) -> Doubles:
    """An offset b amid what the steps T of the levels k on one ``side`` allow, as near ``nominal`` as they leave open.

    floor(T s + b) >= k > floor((T - 1) s + b), each for accumulators in [-limit, limit]: T is clipped to
    [-limit, limit + 1].
    """
    lower = np.max(np.where(side & (steps <= limit), level - steps * scale, -np.inf), axis=0, initial=-np.inf)
    upper = np.min(np.where(side & (steps > -limit), level - (steps - 1) * scale, np.inf), axis=0, initial=np.inf)
    lower, upper = (
        np.maximum(lower, np.minimum(upper, nominal) - scale),
        np.minimum(upper, np.maximum(lower, nominal) + scale),
    )
    middle: Doubles = (lower + upper) / 2
    return middle


def rescale_into(out: NDArray[Any], acc: Floats, rescale: Rescale, bound: float) -> None:
    """Write f(acc) to ``out``; ``acc``, integers of magnitude <= bound in float32 or float64, is overwritten.

    Channels along the last axis. Raises QuantError on overflow.
    """
    rescale.check(acc, bound)
    # The check leaves no accumulator of 2**31 - 512 or more, whatever the bound.
    plan = float_plan(rescale, min(int(bound), INT32 - 512))
    if plan is None:
        out[...] = rescale.exact(acc.astype(np.int64))
    else:
        out[...] = plan.apply(acc.astype(plan.scale.dtype, copy=False), rescale.low, rescale.high)


def rescale_all(acc: NDArray[Any], rescale: Rescale, bound: float) -> NDArray[Any]:
    """f of a whole array of integer accumulators, block by block. Raises QuantError on overflow."""
    channels = acc.shape[-1] if acc.ndim else 1
    flat = acc.reshape(-1, channels)
    out = np.empty(flat.shape, dtype=rescale.dtype)
    rows = max(1, BLOCK // max(channels, 1))
    for start in range(0, flat.shape[0], rows):
        part = slice(start, start + rows)
        rescale_into(out[part], flat[part].astype(np.float64), rescale, bound)
    return out.reshape(acc.shape)
