"""Evaluation of a graph on a whole image set: in slices of bounded memory, or op by op with a say in every value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edgevit.errors import QuantError
from edgevit.ir.graph import Graph
from edgevit.ir.interp import evaluate_op
from edgevit.ir.op import Op
from edgevit.ir.ops import Const, Input
from edgevit.quant.arrays import Numbers

MEMORY_BYTES = 1 << 30
"""What the live activations of one run may take."""

TEMPORARY_BYTES = 1 << 27
"""What the result of one evaluation may take; temporaries are a small multiple of it."""

Progress = Callable[[int, int], None]


def stack_images(graph: Graph, batches: Iterable[Numbers]) -> Numbers:
    """All batches as one array (S, *shape of the graph's input), in the batches' element type.

    A batch is (S, *shape) or, where the input's first axis is 1, (S, *shape[1:]): images (S, H, W, 3). Raises
    QuantError when there are none, when they do not fit or when they are not finite.
    """
    if len(graph.inputs) != 1:
        raise QuantError(f"{len(graph.inputs)} inputs", where=graph.name, hint="calibration feeds one input, the image")
    shape = graph.inputs[0].shape
    arrays = []
    for batch in batches:
        array = np.asarray(batch)
        if array.shape[1:] == shape[1:] and shape[:1] == (1,) and array.ndim == len(shape):
            array = array[:, None]
        if array.ndim != len(shape) + 1 or array.shape[1:] != shape:
            raise QuantError(
                f"a batch of shape {list(array.shape)} for an input {list(shape)}",
                where=graph.name,
                hint="resize the images",
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise QuantError(
                "a batch with numbers that are not finite", where=graph.name, hint="leave out the damaged images"
            )
        arrays.append(array)
    images = np.concatenate(arrays) if arrays else np.zeros((0, *shape), np.float32)
    if not len(images):
        raise QuantError(
            "no images", where=graph.name, hint="name a folder of images, an .npz or the embedded set with --calib"
        )
    return images


def live_bytes(graph: Graph) -> int:
    """The most bytes that live values of one sample take when ``graph`` runs, at 4 bytes an element or more."""
    remaining = dict(graph.uses)
    live = peak = 0

    def size(op: Op) -> int:
        return 0 if isinstance(op, Const) else op.type.size * max(4, op.type.dtype.numpy.itemsize)

    for op in graph.ops:
        live += size(op)
        peak = max(peak, live)
        for operand in op.operands:
            remaining[operand] -= 1
            if remaining[operand] == 0:
                live -= size(operand)
        if remaining[op] == 0:
            live -= size(op)
    return peak


def total_bytes(ops: Iterable[Op]) -> int:
    """Bytes of the values of ``ops`` for one sample, 4 an element."""
    return sum(4 * op.type.size for op in ops)


def slices(samples: int, bytes_each: int, limit: int) -> Iterator[slice]:
    """Consecutive slices of a sample axis, each at most ``limit`` bytes but at least one sample."""
    step = max(1, limit // max(1, bytes_each))
    for start in range(0, samples, step):
        yield slice(start, min(start + step, samples))


def as_input(graph: Graph, images: Numbers) -> Numbers:
    """Images in the element type of the graph's input: pixel values as real numbers or as integers on its grid."""
    type = graph.inputs[0].type
    if type.quant is None or images.dtype == type.dtype.numpy:
        return images.astype(type.dtype.numpy, copy=False)
    scale, zero_point = type.quant.broadcast(type.rank)
    q = np.rint(images.astype(np.float64) / scale) + zero_point
    integers: Numbers = np.clip(q, *type.dtype.limits).astype(type.dtype.numpy)
    return integers


def evaluate_all(op: Op, operands: Sequence[Op], arrays: Sequence[Numbers], samples: int) -> Numbers:
    """The value of ``op`` on all samples, computed a few at a time; ``arrays`` are the values of ``operands``."""
    varying = [array.ndim > operand.type.rank for operand, array in zip(operands, arrays, strict=True)]
    if not any(varying):
        return evaluate_op(op, list(arrays))
    parts = []
    bytes_each = 8 * max(
        op.type.size, *(operand.type.size for operand, moves in zip(operands, varying, strict=True) if moves)
    )
    for part in slices(samples, bytes_each, TEMPORARY_BYTES):
        parts.append(
            evaluate_op(op, [array[part] if moves else array for array, moves in zip(arrays, varying, strict=True)])
        )
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def walk(
    graph: Graph, images: Numbers, visit: Callable[[Op, list[Numbers]], Numbers], progress: Progress | None = None
) -> None:
    """Call ``visit(op, operand arrays)`` for every op that is no constant; what it returns is the value of the op.

    Values are freed after their last use. ``progress(done, total)`` counts ops.
    """
    remaining = dict(graph.uses)
    values: dict[Op, Numbers] = {}
    for done, op in enumerate(graph.ops, 1):
        if isinstance(op, Const):
            values[op] = op.data
        elif isinstance(op, Input):
            values[op] = visit(op, [images])
        else:
            values[op] = visit(op, [values[operand] for operand in op.operands])
        for operand in op.operands:
            remaining[operand] -= 1
            if remaining[operand] == 0:
                del values[operand]
        if remaining[op] == 0:
            del values[op]
        if progress is not None:
            progress(done, len(graph.ops))


def channel_mean(array: Numbers) -> NDArray[np.float64]:
    """The mean over all axes but the last, in double precision."""
    mean: NDArray[np.float64] = array.reshape(-1, array.shape[-1]).mean(axis=0, dtype=np.float64)
    return mean
