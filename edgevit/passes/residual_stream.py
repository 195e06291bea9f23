"""The residual stream of a model, and what `center-residual` and `rotate-residual` share: they change its basis.

Nothing of that is left to compute at run time.

Every normalization of a pre-norm transformer reads one stream of C channels, to which linear layers add. A matrix P on
those channels can be taken into the layers that write to the stream; then

- P = I - 1/C (``center-residual``): a layer norm ignores the mean of its input, so the stream may as well have none,
  and layer_norm becomes rms_norm (Ashkboos et al., SliceGPT, ICLR 2024, section 3.1);
- P orthogonal (``rotate-residual``): an rms norm commutes with it, and the linear layers that read the norm take its
  inverse. Outlier channels are spread over all channels, which an 8-bit grid for the whole tensor needs (Ashkboos et
  al., QuaRot, NeurIPS 2024).

Both want norms without affine part (``norm-affine`` and ``fold-scales``).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import (
    Add,
    Broadcast,
    Concat,
    Const,
    Conv2d,
    LayerNorm,
    Linear,
    Pad,
    ReduceMean,
    ReduceSum,
    Reshape,
    RmsNorm,
    Slice,
    Transpose,
)
from edgevit.passes.base import Pass, Rejection

Matrix = NDArray[np.float64]


@dataclass(eq=False)
class Stream:
    """The values of one residual stream, found from one norm: who writes, who carries, who reads."""

    channels: int
    values: dict[Op, None] = field(default_factory=dict)
    norms: dict[Op, None] = field(default_factory=dict)
    readers: dict[Op, None] = field(default_factory=dict)
    problem: Op | None = None
    reason: str = ""

    def reject(self, op: Op, reason: str) -> None:
        self.problem, self.reason = op, reason


def find_streams(graph: Graph, *, through_norms: bool) -> list[Stream]:
    """All residual streams. With ``through_norms`` the results of the norms belong to the stream as well, and linear
    layers read it.
    """
    streams: list[Stream] = []
    known: set[Op] = set()
    wanted = RmsNorm if through_norms else LayerNorm
    for op in graph.ops:
        if isinstance(op, wanted) and op.x not in known:
            stream = _grow(graph, op, through_norms)
            known |= set(stream.values)
            streams.append(stream)
    return streams


def _grow(graph: Graph, start: LayerNorm | RmsNorm, through_norms: bool) -> Stream:
    stream = Stream(start.shape[-1])
    pending: list[Op] = [start.x]
    outputs = set(graph.outputs)
    while pending and stream.problem is None:
        value = pending.pop()
        if value in stream.values:
            continue
        stream.values[value] = None
        if value in outputs:
            stream.reject(value, "the stream is an output of the model")
        pending += _written_by(value, stream, through_norms)
        if isinstance(value, Const):
            continue
        for user in graph.users[value]:
            pending += _read_by(user, value, stream, through_norms)
    for value in stream.values:
        if isinstance(value, Const) and not all(user in stream.values for user in graph.users[value]):
            stream.reject(value, "a constant of the stream is used elsewhere as well")
    return stream


def _written_by(value: Op, stream: Stream, through_norms: bool) -> Iterable[Op]:
    """What else is in the stream because ``value`` is made of it."""
    if isinstance(value, (Linear, Conv2d)):
        if not isinstance(value.weight, Const) or not isinstance(value.bias, (Const, type(None))):
            stream.reject(value, "its weights are not constant")
        elif isinstance(value, Conv2d) and value.groups != 1:
            stream.reject(value, f"a convolution in {value.groups} groups, which keeps its channels apart")
        return ()
    if isinstance(value, Const):
        if value.shape[-1:] != (stream.channels,):
            stream.reject(value, f"a constant of shape {list(value.shape)} for {stream.channels} channels")
        return ()
    if isinstance(value, Add):
        if value.lhs.shape[-1:] != value.rhs.shape[-1:]:
            stream.reject(value, "an addition that broadcasts over channels")
        return value.lhs, value.rhs
    if _carries_channels(value):
        return value.operands
    if through_norms and isinstance(value, RmsNorm):
        return (value.x,)
    stream.reject(value, f"{value.NAME} writes to the stream, whose channels it does not let change")
    return ()


def _read_by(user: Op, value: Op, stream: Stream, through_norms: bool) -> Iterable[Op]:
    """What else is in the stream because it is made from ``value``."""
    if isinstance(user, (LayerNorm, RmsNorm)):
        if user.gamma is not None:
            stream.reject(user, "the norm still has gamma and beta: run `norm-affine` and `fold-scales` first")
        elif through_norms and isinstance(user, LayerNorm):
            stream.reject(user, "layer_norm does not commute with a rotation: run `center-residual` first")
        stream.norms[user] = None
        return (user,) if through_norms else ()
    if isinstance(user, Add) or (_carries_channels(user) and user.shape[-1:] == (stream.channels,)):
        return (user,)
    if through_norms and isinstance(user, Linear) and user.x is value and isinstance(user.weight, Const):
        stream.readers[user] = None
        return ()
    stream.reject(user, f"{user.NAME} reads the stream and mixes or changes its channels")
    return ()


def _carries_channels(op: Op) -> bool:
    """Ops that are linear over positions and leave the last axis alone."""
    if isinstance(op, Reshape):
        return op.shape[-1:] == op.x.shape[-1:]
    if isinstance(op, Transpose):
        return op.perm[-1] == op.type.rank - 1
    if isinstance(op, Slice):
        return (op.start[-1], op.stop[-1], op.step[-1]) == (0, op.x.shape[-1], 1)
    if isinstance(op, Pad):
        return op.low[-1] == op.high[-1] == 0 and op.mode == "constant" and op.value == 0
    if isinstance(op, Broadcast):
        return op.x.shape[-1:] == op.shape[-1:]
    if isinstance(op, (ReduceMean, ReduceSum)):
        return op.x.type.rank - 1 not in op.axes
    return isinstance(op, Concat) and op.axis != op.type.rank - 1


@dataclass(frozen=True)
class StreamPass(Pass):
    """Base of both passes: the writers of each stream take ``matrix`` on their output channels."""

    THROUGH_NORMS: ClassVar[bool] = False

    @abstractmethod
    def matrix(self, channels: int) -> Matrix:
        """P, applied to a row of channels from the right."""

    def run(self, graph: Graph) -> Graph:
        writes: dict[Op, Matrix] = {}
        reads: dict[Op, Matrix] = {}
        norms: set[Op] = set()
        for stream in find_streams(graph, through_norms=self.THROUGH_NORMS):
            if stream.problem is not None:
                continue
            matrix = self.matrix(stream.channels)
            writes |= dict.fromkeys((v for v in stream.values if isinstance(v, (Const, Linear, Conv2d))), matrix)
            reads |= dict.fromkeys(stream.readers, matrix)
            norms |= set(stream.norms)
        return self._rewrite(graph, writes, reads, norms)

    def _rewrite(self, graph: Graph, writes: dict[Op, Matrix], reads: dict[Op, Matrix], norms: set[Op]) -> Graph:
        originals = iter(graph.ops)

        def transform(op: Op) -> Op:
            old = next(originals)
            if old in writes or old in reads:
                op = _changed(op, old, reads.get(old), writes.get(old))
            return self.norm(op) if old in norms and isinstance(op, (LayerNorm, RmsNorm)) else op

        rewritten = graph.map(transform)
        return Graph.of(graph.name, rewritten.outputs, inputs=rewritten.inputs, form=graph.form)

    def norm(self, op: LayerNorm | RmsNorm) -> Op:
        """What a norm of a changed stream becomes."""
        return op

    def why(self, graph: Graph) -> tuple[Rejection, ...]:
        streams = find_streams(graph, through_norms=self.THROUGH_NORMS)
        return tuple(
            Rejection(self.NAME, s.problem.NAME, s.problem.loc, s.reason) for s in streams if s.problem is not None
        )


def _changed(op: Op, old: Op, read: Matrix | None, write: Matrix | None) -> Op:
    """``op`` with ``read`` taken off its input channels and ``write`` applied to its output channels.

    The numbers are those of ``old``, the op before the pass: a constant may be a value of the stream and a bias at
    once. For weights (out, in), x P W'^T = x W^T gives W' = W P.
    """
    if isinstance(old, Const):
        return old if write is None else Const(_right(old.data, write), loc=old.loc)
    assert isinstance(op, (Linear, Conv2d))
    assert isinstance(old, (Linear, Conv2d))
    assert isinstance(old.weight, Const)
    weight, bias = old.weight.data, old.bias
    if read is not None:
        weight = _right(weight, read)
    if write is not None:
        flat = weight.reshape(weight.shape[0], -1)
        weight = _right(flat.T, write).T.reshape(weight.shape)
        bias = Const(_right(bias.data, write), loc=bias.loc) if isinstance(bias, Const) else None
    return replace(op, weight=Const(np.ascontiguousarray(weight), loc=old.weight.loc), bias=bias)


def _right(data: NDArray[np.generic], matrix: Matrix) -> NDArray[np.float32]:
    return (data.astype(np.float64) @ matrix).astype(np.float32)
