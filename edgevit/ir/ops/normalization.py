"""Normalizations and softmax. Channels are the last axis."""

from __future__ import annotations

from dataclasses import dataclass

from edgevit.ir.op import Op
from edgevit.ir.types import TensorType


@dataclass(frozen=True, eq=False)
class LayerNorm(Op):
    """(x - mean) / sqrt(var + eps) * gamma + beta over the last axis; gamma and beta (C) are both present or both
    absent.
    """

    NAME = "layer_norm"
    x: Op
    gamma: Op | None = None
    beta: Op | None = None
    eps: float = 1e-5

    def infer(self) -> TensorType:
        _check_affine(self, self.gamma, self.beta, _channels(self, self.x))
        return TensorType(self.x.shape, self.x.type.dtype)


@dataclass(frozen=True, eq=False)
class RmsNorm(Op):
    """x / sqrt(mean(x**2) + eps) * gamma + beta over the last axis (Zhang and Sennrich 2019): layer_norm of a centred
    x.
    """

    NAME = "rms_norm"
    x: Op
    gamma: Op | None = None
    beta: Op | None = None
    eps: float = 1e-5

    def infer(self) -> TensorType:
        _check_affine(self, self.gamma, self.beta, _channels(self, self.x))
        return TensorType(self.x.shape, self.x.type.dtype)


@dataclass(frozen=True, eq=False)
class GroupNorm(Op):
    """Layer norm over each of ``groups`` groups of channels and all positions: x (N, ..., C)."""

    NAME = "group_norm"
    x: Op
    gamma: Op | None
    beta: Op | None
    groups: int
    eps: float = 1e-5

    def infer(self) -> TensorType:
        channels = _channels(self, self.x)
        if self.groups < 1 or channels % self.groups:
            raise self.fail(f"{channels} channels do not divide into {self.groups} groups")
        _check_affine(self, self.gamma, self.beta, channels)
        return TensorType(self.x.shape, self.x.type.dtype)


@dataclass(frozen=True, eq=False)
class BatchNorm(Op):
    """(x - mean) / sqrt(var + eps) * gamma + beta with fixed statistics: all four are (C) on the last axis."""

    NAME = "batch_norm"
    x: Op
    gamma: Op
    beta: Op
    mean: Op
    var: Op
    eps: float = 1e-5

    def infer(self) -> TensorType:
        channels = _channels(self, self.x)
        for name in ("gamma", "beta", "mean", "var"):
            shape = getattr(self, name).shape
            if shape != (channels,):
                raise self.fail(f"{name} {list(shape)} is to be [{channels}]")
        return TensorType(self.x.shape, self.x.type.dtype)


@dataclass(frozen=True, eq=False)
class Softmax(Op):
    """exp(x) / sum(exp(x)) over the last axis, computed on x - max(x)."""

    NAME = "softmax"
    x: Op

    def infer(self) -> TensorType:
        _channels(self, self.x)
        return TensorType(self.x.shape, self.x.type.dtype)


@dataclass(frozen=True, eq=False)
class L2Normalize(Op):
    """x / max(||x||_2, eps) over the last axis."""

    NAME = "l2_normalize"
    x: Op
    eps: float = 1e-12

    def infer(self) -> TensorType:
        _channels(self, self.x)
        return TensorType(self.x.shape, self.x.type.dtype)


def _channels(op: Op, x: Op) -> int:
    if not x.shape:
        raise op.fail("needs at least one axis")
    return x.shape[-1]


def _check_affine(op: Op, gamma: Op | None, beta: Op | None, channels: int) -> None:
    if (gamma is None) != (beta is None):
        raise op.fail("gamma and beta are to be both present or both absent")
    for value in (gamma, beta):
        if value is not None and value.shape != (channels,):
            raise op.fail(f"gamma and beta are to be [{channels}], got {list(value.shape)}")
