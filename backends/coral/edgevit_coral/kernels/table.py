"""Tables of int8 operators: 256 entries for a unary operator, 65,536 for a binary one, from the exact scalar meaning.

An 8-bit operator is a finite function. Tabulating it once makes the fast path trivially equal to the slow one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# All stored values in the order of their bit patterns, by type: what an 8-bit table is indexed with.
DOMAIN = {
    "int8": np.arange(256, dtype=np.uint8).view(np.int8).astype(np.int64),
    "uint8": np.arange(256, dtype=np.int64),
}

_BLOCK = 1 << 18


def pack(values: Array, dtype: str) -> bytes:
    """Table bytes from values in DOMAIN order, already clamped to ``dtype``."""
    return values.astype(dtype).tobytes()


def lookup(x: Array, table: bytes, dtype: str) -> Array:
    """``table[x]`` for x of 8 bits; the shape of x. bytes.translate is several times faster than numpy's indexing."""
    return np.frombuffer(x.tobytes().translate(table), dtype=dtype).reshape(x.shape)


def lookup_pair(a: Array, b: Array, table: NDArray[Any]) -> Array:
    """``table[a, b]`` with numpy broadcasting: a, b of 8 bits, the table of 65,536 entries in DOMAIN order of both."""
    a, b = np.broadcast_arrays(a, b)
    out = np.empty(a.shape, dtype=table.dtype)
    if out.size == 0:
        return out
    # Blocks of the leading axis keep the widened index out of main memory.
    step = max(1, _BLOCK * a.shape[0] // a.size) if a.ndim else 1
    for start in range(0, a.shape[0], step):
        part = slice(start, start + step)
        index = a[part].view(np.uint8).astype(np.intp)
        index <<= 8
        index |= b[part].view(np.uint8)
        np.take(table, index, out=out[part])
    return out
