"""Normative meaning of the integer matrix product, in Python integers and Fractions (Jacob et al., arXiv 1712.05877,
equation 7; requantization as I-ViT, arXiv 2207.01405).

    acc[i, j] = bias[j] + sum over k of (x[i, k] - z_x) (w[j, k] - z_w)
    out[i, j] = requantize(acc[i, j]), the dyadic of s_x s_w[j] / s_out

Both operands carry the reduced axis last. x is s8, u8 or s16 (any limits within int16), w is s8 or u8; scales of w are
per tensor or per output j, zero points per tensor. The bias is int32 at the scale s_x s_w[j].

Width: acc and all its partial sums, in any order, lie within

    B = max|bias| + K max|x - z_x| max|w - z_w|            (w not known: an activation)
    B = max over j of |bias[j]| + max|x - z_x| sum over k of |w[j, k] - z_w|    (w known)

``prepare`` refuses B > 2**31 - 1; ``max_depth`` is the largest K that the first bound admits. A kernel may sum x w
with wrap-around and put the zero points in afterwards (acc = sum x w - z_x sum w - z_w sum x + K z_x z_w): modulo
2**32 this is the same number, and it fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from edgevit.errors import QuantError
from edgevit_kernels.requantize import spec as requantize
from edgevit_kernels.requantize.spec import INT8, INT16, INT32, UINT8, Limits, Real, check_grid, positive

Rows = Sequence[Sequence[int]]

MAX_ACCUMULATOR = INT32[1]


@dataclass(frozen=True)
class Operand:
    """Grid of an operand: real value = scale * (q - zero_point), q within limits. One scale, or one an output."""

    scale: Real | Sequence[Real]
    zero_point: int = 0
    limits: Limits = INT8

    @property
    def reach(self) -> int:
        """Largest |q - zero_point|."""
        return max(self.limits[1] - self.zero_point, self.zero_point - self.limits[0])

    @property
    def scales(self) -> tuple[Fraction, ...]:
        """The scales as fractions. Raises QuantError unless all are positive and finite."""
        many = [self.scale] if isinstance(self.scale, (Fraction, float, int)) else self.scale
        return tuple(positive(scale, "an operand's scale") for scale in many)


@dataclass(frozen=True)
class Params:
    """Zero points, bias, the bound B on accumulators, their scales, and how they are requantized."""

    depth: int
    zero_points: tuple[int, int]
    bias: tuple[int, ...] | None
    max_accumulator: int
    accumulator_scales: tuple[Fraction, ...]
    requantize: requantize.Params

    @property
    def output_scale(self) -> Fraction:
        """Scale of the result."""
        return self.requantize.output_scale

    @property
    def output_zero_point(self) -> int:
        """Zero point of the result."""
        return self.requantize.output_zero_point

    @property
    def output_limits(self) -> Limits:
        """Smallest and largest result."""
        return self.requantize.output_limits


def max_depth(x_reach: int, w_reach: int, max_bias: int = 0) -> int:
    """Largest K with max_bias + K x_reach w_reach <= 2**31 - 1. Reaches are the largest |q - zero point|, above 0."""
    return max(0, MAX_ACCUMULATOR - max_bias) // (x_reach * w_reach)


def check_operands(x: Operand, w: Operand) -> None:
    """Raises QuantError unless x fits 16 bits, w fits 8, and per-channel scales are those of w alone, symmetric."""
    for operand, name, widest in ((x, "x", (INT16,)), (w, "w", (INT8, UINT8))):
        check_grid(operand.zero_point, operand.limits, name)
        low, high = operand.limits
        if not any(least <= low and high <= most for least, most in widest):
            raise QuantError(f"{name} has the limits {low} to {high}", hint="x fits int16 (so u8, s8), w int8 or uint8")
    if len(x.scales) != 1:
        raise QuantError(f"x has {len(x.scales)} scales", hint="only w has a scale an output channel")
    if len(w.scales) != 1 and w.zero_point:
        raise QuantError("per-channel weights with a zero point", hint="quantize the weights symmetrically")


def bound(x: Operand, w: Operand, depth: int, weights: Rows | None, bias: Sequence[int] | None) -> int:
    """B of the module's docstring. Raises QuantError above 2**31 - 1, naming the largest depth or the output."""
    biases = list(bias) if bias is not None else [0]
    if weights is None:
        largest = max(abs(value) for value in biases)
        result = largest + depth * x.reach * w.reach
        what = f"a sum of {depth} products up to {x.reach} x {w.reach}, with a bias up to {largest},"
        limit = f"split the reduction after {max_depth(x.reach, w.reach, largest)} terms, or narrow an operand's range"
    else:
        sums = [x.reach * sum(abs(value - w.zero_point) for value in row) for row in weights]
        totals = [abs(b) + s for b, s in zip(biases if bias is not None else [0] * len(sums), sums, strict=True)]
        result = max(totals, default=0)
        what = f"output channel {totals.index(result) if totals else 0}"
        limit = "scale that channel's weights or bias down (a larger weight scale), or split the reduction"
    if result > MAX_ACCUMULATOR:
        raise QuantError(f"{what} needs accumulators up to {result}, above 2**31 - 1", hint=limit)
    return result


def prepare(
    x: Operand,
    w: Operand,
    output_scale: Real,
    output_zero_point: int = 0,
    output_limits: Limits = INT8,
    *,
    depth: int,
    weights: Rows | None = None,
    bias: Sequence[int] | None = None,
) -> Params:
    """``depth`` is K. ``weights`` (outputs, K), where constant, tighten the bound.

    Raises QuantError for operands out of range, accumulators above 32 bits, and ratios of scales that no dyadic has.
    """
    check_operands(x, w)
    if depth < 1 or (weights is not None and any(len(row) != depth for row in weights)):
        raise QuantError(f"a reduction of {depth} terms", hint="depth is the length of the last axis, at least 1")
    counts = {len(w.scales)} - {1}
    counts |= {len(many) for many in (weights, bias) if many is not None}
    if len(counts) > 1:
        raise QuantError(
            f"scales, weights and bias of {', '.join(map(str, sorted(counts)))} outputs",
            hint="one scale, or one an output; one bias an output",
        )
    largest = bound(x, w, depth, weights, bias)
    scales = tuple(x.scales[0] * scale for scale in w.scales)
    rescale = requantize.prepare(scales, output_scale, output_zero_point, output_limits)
    kept = None if bias is None else tuple(int(value) for value in bias)
    return Params(depth, (x.zero_point, w.zero_point), kept, largest, scales, rescale)


def accumulate(x: Rows, w: Rows, params: Params) -> list[list[int]]:
    """x (M, K), w (N, K) -> accumulators (M, N)."""
    zero_x, zero_w = params.zero_points
    bias = params.bias if params.bias is not None else (0,) * len(w)
    return [
        [
            start + sum((a - zero_x) * (b - zero_w) for a, b in zip(row, column, strict=True))
            for start, column in zip(bias, w, strict=True)
        ]
        for row in x
    ]


def apply(x: Rows, w: Rows, params: Params) -> list[list[int]]:
    """x (M, K), w (N, K) -> quantized (M, N)."""
    return [requantize.apply(row, params.requantize) for row in accumulate(x, w, params)]
