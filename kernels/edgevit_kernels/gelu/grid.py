"""The grids that every form of GELU maps between."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from edgevit_kernels.requantize.spec import INT8, Limits, Real, check_grid, positive


@dataclass(frozen=True)
class Grids:
    """Input and output grid, real = scale * (q - zero_point), limits inclusive."""

    input_scale: Fraction
    input_zero_point: int
    input_limits: Limits
    output_scale: Fraction
    output_zero_point: int
    output_limits: Limits

    @property
    def centred(self) -> Limits:
        """The interval of q - zero_point."""
        low, high = self.input_limits
        return low - self.input_zero_point, high - self.input_zero_point

    @property
    def magnitude(self) -> int:
        """The largest |q - zero_point|."""
        return max(map(abs, self.centred))


@dataclass(frozen=True)
class GridParams:
    """What the parameters of every form have: the two grids, of which the output's is part of the kernel contract."""

    grids: Grids

    @property
    def output_scale(self) -> Fraction:
        """Real value of one output step."""
        return self.grids.output_scale

    @property
    def output_zero_point(self) -> int:
        """The output integer of real zero."""
        return self.grids.output_zero_point

    @property
    def output_limits(self) -> Limits:
        """Smallest and largest output."""
        return self.grids.output_limits


def grids(
    input_scale: Real,
    output_scale: Real,
    *,
    input_zero_point: int = 0,
    input_limits: Limits = INT8,
    output_zero_point: int = 0,
    output_limits: Limits = INT8,
) -> Grids:
    """Checked grids. Raises QuantError for a scale that is not positive or limits that do not hold the zero point."""
    check_grid(input_zero_point, input_limits, "the input of GELU")
    check_grid(output_zero_point, output_limits, "the output of GELU")
    return Grids(
        positive(input_scale, "the input scale of GELU"),
        input_zero_point,
        input_limits,
        positive(output_scale, "the output scale of GELU"),
        output_zero_point,
        output_limits,
    )
