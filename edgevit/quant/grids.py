"""From ranges of real numbers to the affine grids that hold them: real = scale * (q - zero_point).

Scales are exactly representable in float32, because that is how TFLite stores them; zero is always a grid point,
because padding, ReLU and the rounding of integer kernels rely on it (Jacob et al. 2018, section 2.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgevit.errors import QuantError
from edgevit.ir.types import DType, Quant
from edgevit.quant.arrays import Numbers

MIN_WIDTH = 1e-9
"""Narrower ranges, and weights below this, count as zero."""

ZERO_WIDTH = 1.0
"""The range of what is always zero. Any grid holds that; a very fine one makes rescaling factors beyond what integer
kernels can apply."""

MIN_BITS, MAX_BITS = 2, 8


@dataclass(frozen=True)
class GridSpec:
    """The kind of grid a value is to have: ``bits`` of its container, zero point free or (``symmetric``) fixed.

    The container has 8 bits, or 16 for the residual stream of targets that keep it so. ``narrow`` leaves out the lowest
    integer (-127 .. 127), as TFLite demands of int8 weights.
    """

    dtype: DType = DType.I8
    bits: int = 8
    symmetric: bool = False
    narrow: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in (DType.I8, DType.U8, DType.I16):
            raise QuantError(f"no grids on {self.dtype.value}", hint="use i8, u8 or i16")
        most = max(MAX_BITS, self.dtype.bits)
        if not MIN_BITS <= self.bits <= most:
            raise QuantError(f"{self.bits} bits", hint=f"use {MIN_BITS} to {most} bits")

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest integer of the grid, at most those of the element type."""
        if self.dtype is DType.U8:
            return int(self.narrow), 2**self.bits - 1
        half = 2 ** (self.bits - 1)
        return int(self.narrow) - half, half - 1

    @property
    def middle(self) -> int:
        """The zero point of symmetric grids."""
        return 2 ** (self.bits - 1) if self.dtype is DType.U8 else 0


def settle_range(lo: float, hi: float) -> tuple[float, float]:
    """The range that a grid is made of: zero included, and [0, ZERO_WIDTH] where it is narrower than MIN_WIDTH.

    Raises QuantError for bounds that are not finite or not in order.
    """
    if not (np.isfinite(lo) and np.isfinite(hi)) or lo > hi:
        raise QuantError(f"[{lo}, {hi}] is no range", hint="look for non-finite weights or activations")
    lo, hi = min(lo, 0.0), max(hi, 0.0)
    return (lo, hi) if hi - lo >= MIN_WIDTH else (0.0, ZERO_WIDTH)


def range_grid(lo: float, hi: float, spec: GridSpec) -> Quant:
    """The per-tensor grid of ``spec`` that covers [lo, hi] and zero to within half a step.

    Raises QuantError for bounds that are not finite, not in order or beyond float32.
    """
    scale, zero_point = grids_of(np.array([lo]), np.array([hi]), spec)
    return Quant.per_tensor(float(scale[0]), int(zero_point[0]))


def grids_of(
    lo: NDArray[np.float64], hi: NDArray[np.float64], spec: GridSpec
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scales (float32 values) and zero points of many ranges at once: the arithmetic behind :func:`range_grid`."""
    settled = np.array([settle_range(float(a), float(b)) for a, b in zip(lo, hi, strict=True)])
    lo, hi = settled[:, 0], settled[:, 1]
    qmin, qmax = spec.limits
    if spec.symmetric:
        exact = np.maximum(-lo, hi) / (qmax - spec.middle)
        scale = _float32(exact)
        return scale, np.full(len(scale), spec.middle, np.int64)
    scale = _float32((hi - lo) / (qmax - qmin))
    zero_point = np.clip(np.rint(qmin - lo / scale), qmin, qmax).astype(np.int64)
    return scale, zero_point


def weight_grid(weight: NDArray[np.float32], spec: GridSpec, axis: int | None) -> Quant:
    """The symmetric grid of a weight array, one for all (``axis`` None) or one for each index of ``axis``.

    An index whose weights are all zero gets the largest scale among the others (1 where there is none): any scale
    holds its zeros, and this one keeps rescaling factors in proportion. Raises QuantError for weights that are not
    finite.
    """
    if not np.isfinite(weight).all():
        raise QuantError("weights are not finite", hint="the checkpoint is damaged or was trained to NaN")
    rest = () if axis is None else tuple(i for i in range(weight.ndim) if i != axis)
    peak = (
        np.abs(weight).astype(np.float64).max(axis=rest)
        if axis is not None
        else np.abs(weight).astype(np.float64).max(keepdims=True).ravel()
    )
    largest = float(peak.max(initial=0.0))
    peak = np.where(peak > 0, peak, largest if largest > 0 else spec.limits[1])
    scale = _float32(np.maximum(peak, MIN_WIDTH) / spec.limits[1])
    return Quant(tuple(scale.tolist()), (0,) * len(scale), axis)


def weight_spec(bits: int) -> GridSpec:
    """Grids of weights: symmetric and narrow in an int8 container."""
    return GridSpec(DType.I8, bits, symmetric=True, narrow=True)


def widened(scale: NDArray[np.float64], at_least: NDArray[np.float64]) -> tuple[float, ...]:
    """float32 scales, each raised where it is below ``at_least``."""
    low = at_least > scale
    raised = np.nextafter(at_least.astype(np.float32), np.float32(np.inf)).astype(np.float64)
    return tuple(_float32(np.where(low, raised, scale)).tolist())


def to_grid(array: Numbers, quant: Quant, spec: GridSpec) -> Numbers:
    """Integers of ``array``, half to even in double precision and clamped to the limits of ``spec``.

    ``quant`` may have an axis only where ``array`` has no leading sample axis.
    """
    scale, zero_point = quant.broadcast(array.ndim)
    q = np.rint(array.astype(np.float64) / scale) + zero_point
    # numpy gives scalars for arrays without dimensions.
    integers: Numbers = np.asarray(np.clip(q, *spec.limits), spec.dtype.numpy)
    return integers


def fake_quantize(array: Numbers, quant: Quant, spec: GridSpec) -> NDArray[np.float32]:
    """The real numbers, as float32, that ``array`` becomes when it is rounded onto the grid and back."""
    if quant.axis is None:
        # In place and in single precision: activations of a whole calibration set come through here.
        scale, zero_point = np.float32(quant.scale[0]), np.float32(quant.zero_point[0])
        q = np.array(array, np.float32)
        q /= scale
        np.rint(q, out=q)
        low, high = spec.limits
        np.clip(q, np.float32(low) - zero_point, np.float32(high) - zero_point, out=q)
        q *= scale
        return q
    scale64, zero_points = quant.broadcast(array.ndim)
    result: NDArray[np.float32] = ((to_grid(array, quant, spec).astype(np.float64) - zero_points) * scale64).astype(
        np.float32
    )
    return result


def real_limits(quant: Quant, spec: GridSpec) -> tuple[float, float]:
    """The smallest and the largest real number on a per-tensor grid of ``spec``."""
    scale, zero_point = float(quant.scale[0]), quant.zero_point[0]
    qmin, qmax = spec.limits
    return scale * (qmin - zero_point), scale * (qmax - zero_point)


def _float32(scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rounded to float32 and back; QuantError where that overflows."""
    with np.errstate(over="ignore"):
        rounded = scale.astype(np.float32).astype(np.float64)
    if not np.isfinite(rounded).all():
        raise QuantError("a range exceeds float32", hint="look for exploding activations or weights")
    return rounded
