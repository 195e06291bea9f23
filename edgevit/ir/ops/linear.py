"""Ops that multiply and accumulate."""

from __future__ import annotations

from dataclasses import dataclass

from edgevit.ir.op import Op
from edgevit.ir.ops.elementwise import broadcast_shapes
from edgevit.ir.types import TensorType


@dataclass(frozen=True, eq=False)
class Linear(Op):
    """x @ weight.T + bias on the last axis: x (..., in), weight (out, in), bias (out) -> (..., out)."""

    NAME = "linear"
    x: Op
    weight: Op
    bias: Op | None = None

    def infer(self) -> TensorType:
        if self.weight.type.rank != 2 or self.x.shape[-1:] != self.weight.shape[1:]:
            raise self.fail(f"x {list(self.x.shape)} does not fit weight {list(self.weight.shape)}, which is (out, in)")
        _check_bias(self, self.bias, self.weight.shape[0])
        return TensorType((*self.x.shape[:-1], self.weight.shape[0]), self.x.type.dtype)


@dataclass(frozen=True, eq=False)
class MatMul(Op):
    """Batched matrix product (..., n, k) x (..., k, m) -> (..., n, m); leading axes broadcast."""

    NAME = "matmul"
    lhs: Op
    rhs: Op

    def infer(self) -> TensorType:
        a, b = self.lhs.shape, self.rhs.shape
        if len(a) < 2 or len(b) < 2 or a[-1] != b[-2]:
            raise self.fail(f"{list(a)} x {list(b)}: the inner dimensions differ")
        lead = broadcast_shapes(a[:-2], b[:-2])
        if lead is None:
            raise self.fail(f"{list(a)} x {list(b)}: the leading dimensions do not broadcast")
        return TensorType((*lead, a[-2], b[-1]), self.lhs.type.dtype)


@dataclass(frozen=True, eq=False)
class Conv2d(Op):
    """Cross-correlation, channels last: x (N, H, W, C), weight (out, kh, kw, C / groups), bias (out) -> (N, H', W',
    out).

    ``padding`` is (top, bottom, left, right), filled with zero.
    """

    NAME = "conv2d"
    x: Op
    weight: Op
    bias: Op | None = None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def infer(self) -> TensorType:
        if self.x.type.rank != 4 or self.weight.type.rank != 4:
            raise self.fail(
                f"x {list(self.x.shape)} is to be (N, H, W, C), weight {list(self.weight.shape)} (out, kh, kw, in)"
            )
        batch, height, width, channels = self.x.shape
        out, kh, kw, per_group = self.weight.shape
        check_window(self, self.stride, self.dilation, self.padding)
        if self.groups < 1 or per_group * self.groups != channels or out % self.groups:
            raise self.fail(f"{channels} channels in {self.groups} groups do not fit weight {list(self.weight.shape)}")
        _check_bias(self, self.bias, out)
        rows = window_count(height, kh, self.stride[0], self.dilation[0], self.padding[:2])
        columns = window_count(width, kw, self.stride[1], self.dilation[1], self.padding[2:])
        if rows < 1 or columns < 1:
            raise self.fail(f"kernel {kh}x{kw} is larger than the padded image")
        return TensorType((batch, rows, columns, out), self.x.type.dtype)


@dataclass(frozen=True, eq=False)
class Attention(Op):
    """softmax(scale * q @ k.T + mask) @ v for each leading axis: q (..., n, d), k (..., m, d), v (..., m, e) -> (...,
    n, e).

    ``mask``, where present, is added to the scores and broadcasts to (..., n, m).
    """

    NAME = "attention"
    q: Op
    k: Op
    v: Op
    mask: Op | None = None
    scale: float = 1.0

    def infer(self) -> TensorType:
        q, k, v = self.q.shape, self.k.shape, self.v.shape
        if min(len(q), len(k), len(v)) < 2 or q[-1] != k[-1] or k[-2] != v[-2] or not q[:-2] == k[:-2] == v[:-2]:
            raise self.fail(f"q {list(q)}, k {list(k)} and v {list(v)} do not fit")
        scores = (*q[:-1], k[-2])
        if self.mask is not None and broadcast_shapes(self.mask.shape, scores) != scores:
            raise self.fail(f"mask {list(self.mask.shape)} does not broadcast to {list(scores)}")
        return TensorType((*q[:-1], v[-1]), self.q.type.dtype)


def window_count(size: int, kernel: int, stride: int, dilation: int, padding: tuple[int, ...]) -> int:
    """How many windows of a convolution or pooling fit on one axis."""
    return (size + sum(padding) - dilation * (kernel - 1) - 1) // stride + 1


def check_window(op: Op, stride: tuple[int, int], dilation: tuple[int, int], padding: tuple[int, ...]) -> None:
    """Raise IRError for strides and dilations that are not positive, and for negative padding."""
    if min(*stride, *dilation) < 1 or min(padding) < 0:
        raise op.fail(f"stride {list(stride)}, dilation {list(dilation)}, padding {list(padding)}", "use slice to crop")


def _check_bias(op: Op, bias: Op | None, out: int) -> None:
    if bias is not None and bias.shape != (out,):
        raise op.fail(f"bias {list(bias.shape)} is to be [{out}]")
