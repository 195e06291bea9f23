"""`split-heads`: attention over a head axis becomes rank-2 products a head at a time.

The query, key and value of a head are found by following the reshapes, transposes and slices before attention back to
the linear layer that computes them: each head then gets a linear layer of its own rows, so that every head has a grid
of its own and nothing is sliced at run time. The heads' results are concatenated on the channel axis, which is what the
transpose and reshape after attention do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from edgevit.ir.interp import evaluate_op
from edgevit.ir.op import Op
from edgevit.ir.ops import Attention, Concat, Const, Linear, MatMul, Mul, Reshape, Slice, Softmax, Transpose
from edgevit.passes.base import Context, Reject, RewritePass, Rule

Indices = NDArray[np.int64]


class SplitHeads(Rule):
    """reshape(transpose(attention(q, k, v))) -> concat of the heads; attention with one head needs no merge."""

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        attention = op if isinstance(op, Attention) else _attention_before(op)
        single = attention is op
        if attention is None or (single and math.prod(op.shape[:-2]) != 1):
            return None
        outputs = _heads(attention)
        if isinstance(outputs, Reject):
            return outputs
        if not single and not _merges_heads(op, attention):
            return Reject("what follows attention is not the usual merge of heads into channels")
        joined = outputs[0] if single else Concat(tuple(outputs), 1, loc=attention.loc)
        return joined if joined.shape == op.shape else Reshape(joined, op.shape, loc=op.loc)


def _heads(attention: Attention) -> list[Op] | Reject:
    """The result of every head, (rows, width)."""
    if attention.mask is not None:
        return Reject("the attention has a mask")
    if math.prod(attention.shape[:-3]) != 1:
        windows = list(attention.shape[:-3])
        return Reject(f"attention over {windows} windows or images: only one can be split by head")
    heads = math.prod(attention.shape[:-2])
    found: list[list[Op]] = []
    for operand in (attention.q, attention.k, attention.v):
        parts = _head_values(operand, heads)
        if isinstance(parts, Reject):
            return parts
        found.append(parts)
    return [_one_head(attention, q, k, v) for q, k, v in zip(*found, strict=True)]


def _merges_heads(op: Op, attention: Attention) -> bool:
    """Whether ``op`` has the rows of attention with the channels of its heads side by side."""
    heads, rows, width = attention.shape[-3:]
    indices = np.arange(attention.type.size)
    merged = _follow(op, attention, indices.reshape(attention.shape))
    expected = indices.reshape(heads, rows, width).transpose(1, 0, 2)
    return op.shape[-1] == heads * width and np.array_equal(merged.ravel(), expected.ravel())


def _one_head(attention: Attention, q: Op, k: Op, v: Op) -> Op:
    """softmax(scale q k^T) v for q (n, d), k (m, d), v (m, e)."""
    loc = attention.loc
    if attention.scale != 1.0:
        q = _scaled(q, attention.scale)
    scores = MatMul(q, Transpose(k, (1, 0), loc=loc), loc=loc)
    return MatMul(Softmax(scores, loc=loc), v, loc=loc)


def _scaled(q: Op, scale: float) -> Op:
    """The attention scale in the weights of the query where it has its own."""
    factor = np.array(scale, np.float32)
    if not isinstance(q, Linear) or not isinstance(q.weight, Const) or not isinstance(q.bias, (Const, type(None))):
        return Mul(q, Const(factor, loc=q.loc), loc=q.loc)
    weight, bias = (
        None if c is None else Const(np.multiply(c.data, factor, dtype=np.float32), loc=c.loc)
        for c in (q.weight, q.bias)
    )
    assert weight is not None
    return Linear(q.x, weight, bias, loc=q.loc)


def _attention_before(op: Op) -> Attention | None:
    """The attention whose heads a reshape merges; only reshapes and transposes lie between."""
    if not isinstance(op, Reshape):
        return None
    value: Op = op.x
    while isinstance(value, (Reshape, Transpose)):
        value = value.x
    return value if isinstance(value, Attention) and value.type.rank >= 3 else None


def _follow(value: Op, source: Op, indices: Indices) -> Indices:
    """What the layout ops from ``source`` to ``value`` do to ``indices``, which has the shape of ``source``."""
    chain: list[Op] = []
    while value is not source:
        chain.append(value)
        value = value.operands[0]
    for op in reversed(chain):
        indices = np.asarray(evaluate_op(op, [indices]), np.int64)
    return indices


def _head_values(value: Op, heads: int) -> list[Op] | Reject:
    """The (rows, width) value of each head of a query, key or value of shape (..., heads, rows, width)."""
    source = value
    while isinstance(source, (Reshape, Transpose, Slice)):
        source = source.x
    rows, width = value.shape[-2:]
    if not isinstance(source, Linear) or not isinstance(source.weight, Const):
        return [_row_block(value, head) for head in range(heads)]
    if not isinstance(source.bias, (Const, type(None))):
        return Reject("the bias of the projection is not constant")
    features = source.shape[-1]
    picked = _follow(value, source, np.arange(source.type.size).reshape(source.shape)).reshape(heads, rows, width)
    token, channel = picked // features, picked % features
    if (token != token[:1, :, :1]).any() or (channel != channel[:, :1, :]).any():
        return [_row_block(value, head) for head in range(heads)]
    x = _rows(source.x, token[0, :, 0])
    if isinstance(x, Reject):
        return x
    found: list[Op] = []
    for head in range(heads):
        chosen = channel[head, 0]
        bias = None if source.bias is None else Const(source.bias.data[chosen].copy(), loc=source.bias.loc)
        found.append(Linear(x, Const(source.weight.data[chosen].copy(), loc=source.weight.loc), bias, loc=source.loc))
    return found


def _rows(x: Op, tokens: Indices) -> Op | Reject:
    """x (..., rows, C) as (rows, C), or the leading run of rows that ``tokens`` names."""
    channels = x.shape[-1]
    rows = x.type.size // channels
    flat = x if x.type.rank == 2 else Reshape(x, (rows, channels), loc=x.loc)
    start, stop = int(tokens[0]), int(tokens[-1]) + 1
    if not np.array_equal(tokens, np.arange(start, stop)):
        return Reject("the tokens of a head are not in order")
    if (start, stop) == (0, rows):
        return flat
    return Slice(flat, (start, 0), (stop, channels), (1, 1), loc=x.loc)


def _row_block(value: Op, head: int) -> Op:
    """One head of a computed (..., heads, rows, width) value as (rows, width), by a slice."""
    rank = value.type.rank
    if rank == 2:
        return value
    if value.type.size == math.prod(value.shape[-2:]):
        return Reshape(value, value.shape[-2:], loc=value.loc)
    start, stop = [0] * rank, list(value.shape)
    start[rank - 3], stop[rank - 3] = head, head + 1
    part = Slice(value, tuple(start), tuple(stop), (1,) * rank, loc=value.loc)
    return Reshape(part, value.shape[-2:], loc=value.loc)


@dataclass(frozen=True)
class SplitAttentionHeads(RewritePass):
    """Attention as rank-2 products a head at a time."""

    NAME: ClassVar[str] = "split-heads"

    def rules(self) -> tuple[Rule, ...]:
        return (SplitHeads(),)
