"""Unary int8 operators: RSQRT, LOGISTIC, TANH, RELU, RELU6, QUANTIZE. Any shape; each is a table of 256 entries."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit.errors import QuantError
from edgevit_kernels.fixedpoint import ref

from .grid import Grid, quantize_bound, require_int8
from .rescale import FixedRescale
from .table import DOMAIN, lookup, pack

Array = NDArray[Any]


def quantize(x: Array, *, x_q: Grid, out_q: Grid) -> Array:
    """QUANTIZE between int8 and uint8 grids: clamp(zero_out + (x - zero_x) * scale_x / scale_out), double quotient."""
    return lookup(x, _quantize_table(x_q, out_q), out_q.dtype)


@lru_cache(maxsize=512)
def _quantize_table(x_q: Grid, out_q: Grid) -> bytes:
    if {x_q.dtype, out_q.dtype} - set(DOMAIN):
        raise QuantError(f"requantization from {x_q.dtype} to {out_q.dtype}", hint="both types are of 8 bits")
    x_scale, x_zero = x_q.scalar()
    out_scale, out_zero = out_q.scalar()
    rescale = FixedRescale.of(float(x_scale) / float(out_scale), out_zero, out_q.limits, out_q.dtype)
    return _rescale_table(rescale, x_q.dtype, x_zero)


def _rescale_table(rescale: FixedRescale, dtype: str, x_zero: int) -> bytes:
    centred = DOMAIN[dtype] - x_zero
    rescale.check(centred, 2.0**31)
    return pack(rescale.exact(centred), rescale.dtype)


def relu(x: Array, *, x_q: Grid, out_q: Grid) -> Array:
    """RELU: rescale, then clamp at real zero. TFLite divides the two scales in float32 here."""
    return lookup(x, _relu_table(x_q, out_q, None), "int8")


def relu6(x: Array, *, x_q: Grid, out_q: Grid) -> Array:
    """RELU6: rescale, then clamp to real [0, 6]."""
    return lookup(x, _relu_table(x_q, out_q, 6.0), "int8")


@lru_cache(maxsize=512)
def _relu_table(x_q: Grid, out_q: Grid, greatest: float | None) -> bytes:
    require_int8(x_q, out_q)
    x_scale, x_zero = x_q.scalar()
    out_scale, out_zero = out_q.scalar()
    low, high = out_q.limits
    limits = (max(low, out_zero), high if greatest is None else min(high, quantize_bound(greatest, out_q)))
    return _rescale_table(FixedRescale.of(float(x_scale / out_scale), out_zero, limits, "int8"), "int8", x_zero)


def rsqrt(x: Array, *, x_q: Grid, out_q: Grid) -> Array:
    """RSQRT: 1 / sqrt(real x). Real zero gives the greatest stored value, 127, whatever its scale.

    Raises QuantError where x lies below its zero point: TFLite fails there at run time.
    """
    _, x_zero = x_q.scalar()
    table = _rsqrt_table(x_q, out_q)
    if x.size and int(x.min()) < x_zero:
        raise QuantError(
            "RSQRT of a negative value", hint="calibrate its input as non-negative: the zero point at -128"
        )
    return lookup(x, table, "int8")


@lru_cache(maxsize=512)
def _rsqrt_table(x_q: Grid, out_q: Grid) -> bytes:
    require_int8(x_q, out_q)
    x_scale, x_zero = x_q.scalar()
    out_scale, out_zero = out_q.scalar()
    with np.errstate(under="ignore"):
        product = float(np.sqrt(x_scale) * out_scale)
    if product == 0:
        raise QuantError("RSQRT with a vanishing scale", hint="the output scale is too small")
    multiplier, shift = ref.quantize_multiplier(1.0 / product)
    value = np.maximum(DOMAIN["int8"] - x_zero, 1)
    inverse, inverse_shift = ref.inverse_sqrt_multiplier(value)
    # 1 / sqrt with 20 fraction bits, then rescaled by 2**-20 and the ratio of the scales.
    data = ref.multiply_by_quantized_multiplier(1, inverse, inverse_shift + 20)
    if not -31 <= int(shift) - 20 <= 10:
        raise QuantError(f"RSQRT with a ratio of scales of 2**{int(shift)}", hint="TFLite's shifts overflow there")
    scaled = ref.multiply_by_quantized_multiplier(data, multiplier, shift - 20) + out_zero
    return pack(np.where(DOMAIN["int8"] == x_zero, 127, np.clip(scaled, -128, 127)), "int8")


def _c_function(name: str) -> Callable[[float], float] | None:
    """A float function of the platform's C library, or None where there is none to load."""
    library = ctypes.util.find_library("m")
    function = getattr(ctypes.CDLL(library), name, None) if library else None
    if function is None:
        return None
    function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float]
    return function  # type: ignore[no-any-return]


def _float_map(
    name: str, exact: Callable[[NDArray[np.float64]], NDArray[np.float64]], x: NDArray[np.float32]
) -> NDArray[np.float32]:
    """A float32 function as TFLite's tables see it.

    They are filled with the C library's expf and tanhf, whose last bit is the library's own, so that very library is
    asked; the rounded double is what a correctly rounding library gives.
    """
    function = _c_function(name)
    if function is None:
        return exact(x.astype(np.float64)).astype(np.float32)
    return np.array([function(float(value)) for value in x], dtype=np.float32)


def logistic(x: Array, *, x_q: Grid, out_q: Grid) -> Array:
    """LOGISTIC, a float32 table. Raises QuantError unless the output scale is 1/256; the zero point is free."""
    return lookup(x, _logistic_table(x_q, out_q), "int8")


@lru_cache(maxsize=512)
def _logistic_table(x_q: Grid, out_q: Grid) -> bytes:
    if out_q.scalar()[0] != np.float32(1 / 256):
        raise QuantError(f"LOGISTIC with an output scale of {out_q.scale[0]}", hint="TFLite takes 1/256 only")

    def sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
        with np.errstate(over="ignore"):
            return np.float32(1) / (np.float32(1) + _float_map("expf", np.exp, -x))

    return _float_table(x_q, out_q, sigmoid)


def tanh(x: Array, *, x_q: Grid, out_q: Grid) -> Array:
    """TANH, a float32 table; any output grid."""
    return lookup(x, _tanh_table(x_q, out_q), "int8")


@lru_cache(maxsize=512)
def _tanh_table(x_q: Grid, out_q: Grid) -> bytes:
    return _float_table(x_q, out_q, lambda x: _float_map("tanhf", np.tanh, x))


def _float_table(x_q: Grid, out_q: Grid, function: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> bytes:
    """Dequantize, apply, times the float32 inverse of the output scale, round (ties away from zero), add the zero."""
    require_int8(x_q, out_q)
    x_scale, x_zero = x_q.scalar()
    out_scale, out_zero = out_q.scalar()
    with np.errstate(over="ignore", under="ignore"):
        real = function(x_scale * (DOMAIN["int8"] - x_zero).astype(np.float32)) * (np.float32(1) / out_scale)
    if not np.all(np.abs(real) < 2.0**31 - 256):
        raise QuantError("a table entry beyond int32", hint="the output scale is far too small")
    magnitude = np.abs(real.astype(np.float64))
    rounded = np.copysign(np.floor(magnitude + 0.5), real).astype(np.float32)
    stored = np.trunc(rounded + np.float32(out_zero)).astype(np.int64)
    return pack(np.clip(stored, -128, 127), "int8")
