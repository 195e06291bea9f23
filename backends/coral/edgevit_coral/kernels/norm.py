"""L2_NORMALIZATION and SOFTMAX over the last axis, in int8."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit.errors import QuantError
from edgevit_kernels.fixedpoint import ref

from .grid import Grid, require_int8

Array = NDArray[Any]
Ints = NDArray[np.int64]

# Rows are handled in blocks of about this many 64-bit elements, so that a block and its temporaries stay in the cache.
_BLOCK = 1 << 14


def l2_normalization(x: Array, *, x_q: Grid, out_q: Grid) -> Array:
    """x / |x| over the last axis, on the grid 1/128 with zero point 0 (TFLite takes no other); a row of zeros gives
    zeros.

    No epsilon: the float kernel's is not used in int8. Raises QuantError for another output grid and for rows whose
    sum of squares reaches 2**31.
    """
    require_int8(x_q, out_q)
    if out_q.scale != (1 / 128,) or out_q.zero_point != (0,):
        raise QuantError("L2_NORMALIZATION off the grid 1/128, 0", hint="TFLite takes this output grid only")
    _, x_zero = x_q.scalar()
    rows = x.reshape(-1, x.shape[-1])
    squares = np.empty(rows.shape[0], dtype=np.float64)
    parts = _blocks(rows)
    for part in parts:
        centred = rows[part].astype(np.float64) - x_zero
        # Integers below 2**53: exact in any order.
        np.einsum("rk,rk->r", centred, centred, out=squares[part])
    if squares.size and squares.max() >= 2**31:
        raise QuantError("a sum of squares beyond 32 bits", hint="normalize over a shorter axis")
    multiplier, shift = ref.inverse_sqrt_multiplier(squares.astype(np.int64))
    out = np.empty(rows.shape, dtype=np.int8)
    for part in parts:
        out[part] = _scaled_rows(rows[part].astype(np.float64) - x_zero, multiplier[part], shift[part])
    return out.reshape(x.shape)


def _scaled_rows(work: NDArray[np.float64], multiplier: Ints, shift: Ints) -> NDArray[np.float64]:
    """clamp(multiply_by_quantized_multiplier(work, multiplier, shift + 7)) with one multiplier a row, in float64;
    overwrites work.

    |work| <= 255 and multiplier < 2**31, so every product spans at most 39 bits, and 41 with the halves added: all
    steps are exact.
    """
    power = shift + 7
    work *= np.ldexp(multiplier.astype(np.float64), np.maximum(power, 0) - 31)[:, None]
    work += 0.5
    np.floor(work, out=work)  # the high product, ties upwards
    work *= np.ldexp(1.0, np.minimum(power, 0))[:, None]
    # Ties away from zero in the division; where nothing is divided the value is whole and the half changes nothing.
    work += np.copysign(0.5, work)
    np.trunc(work, out=work)
    return np.clip(work, -128, 127, out=work)


def _blocks(rows: Array) -> list[slice]:
    step = max(1, _BLOCK // max(rows.shape[1], 1))
    return [slice(start, start + step) for start in range(0, rows.shape[0], step)]


def softmax(x: Array, *, x_q: Grid, out_q: Grid, beta: float = 1.0) -> Array:
    """SOFTMAX over the last axis in gemmlowp fixed point: exp in Q0.31, their sum in Q12.19, its reciprocal by
    Newton's method.

    The output grid is 1/256 with zero point -128. Raises QuantError for another, for beta * scale_x <= 2**-26, and
    where a row's sum of exponentials reaches 512 (at least 512 elements near the maximum): TFLite's reference kernel
    aborts the process there.
    """
    require_int8(x_q, out_q)
    if abs(out_q.scale[0] * 256 - 1) > 0.001 or out_q.zero_point != (-128,):
        raise QuantError("SOFTMAX off the grid 1/256, -128", hint="TFLite takes this output grid only")
    full, short = _exponentials(x_q, float(np.float32(beta)))
    rows = x.reshape(-1, x.shape[-1])
    out = np.empty(rows.shape, dtype=np.int8)
    for part in _blocks(rows):
        block = rows[part]
        # Differences from the row's maximum, 0 ... 255, index the tables.
        below = np.subtract(block.max(axis=1, keepdims=True), block, dtype=np.intp)
        total = short[below].sum(axis=1)
        if total.size and int(total.max()) >= 2**28:
            raise QuantError(
                "a sum of 512 or more exponentials", hint="TFLite's SOFTMAX aborts: use shorter rows or wider scores"
            )
        scale, over = ref.reciprocal(total, 12)
        exponent = (over + 23)[:, None]
        # The high product, then the division by 2**exponent; nothing is negative, so a half and a shift round both.
        work = full[below]
        work *= scale[:, None]
        work += 2**30
        work >>= 31
        work += (np.int64(1) << exponent) >> 1
        work >>= exponent
        out[part] = np.minimum(work - 128, 127)
    return out.reshape(x.shape)


@lru_cache(maxsize=512)
def _exponentials(x_q: Grid, beta: float) -> tuple[Ints, Ints]:
    """exp(-d * beta * scale) for d = 0 ... 255 in Q0.31, and rounded to Q12.19; 0 where TFLite skips the term."""
    real = min(beta * float(x_q.scalar()[0]) * 2.0**26, 2.0**31 - 1)
    multiplier, shift = (int(v) for v in ref.quantize_multiplier(real))
    if real <= 1:
        raise QuantError(f"SOFTMAX of beta * scale {real * 2.0**-26:.3g}", hint="TFLite needs more than 2**-26")
    radius = (31 << 26) >> shift
    below = np.arange(256, dtype=np.int64)
    used = below <= radius
    scaled = ref.multiply_by_quantized_multiplier(-np.where(used, below, 0), multiplier, shift)
    full = np.where(used, ref.exp_on_negative(scaled), 0)
    return full, ref.rounding_divide_by_pot(full, 12)
