"""From an operator of the file to its kernel: which input is what, and which option means what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edgevit.errors import QuantError, UnsupportedOp

from ..model import OperatorSpec, TensorSpec
from . import binary, conv, matmul, move, norm, pool, reduce, unary
from .grid import Grid

Array = NDArray[Any]
Kernel = Callable[["Call"], Array]


@dataclass(frozen=True)
class Call:
    """One operator with its tensors and the values of those that are not constant, each with a leading sample axis."""

    op: OperatorSpec
    tensors: Sequence[TensorSpec]
    values: Mapping[int, Array]

    def tensor(self, i: int) -> TensorSpec:
        """Specification of input ``i``. Raises QuantError where it is absent."""
        if not self.has(i):
            raise QuantError(f"{self.op.name} without input {i}", hint="the operator is incomplete")
        return self.tensors[self.op.inputs[i]]

    def has(self, i: int) -> bool:
        """Whether input ``i`` is given."""
        return i < len(self.op.inputs) and self.op.inputs[i] >= 0

    def x(self, i: int = 0) -> Array:
        """Input ``i`` with its sample axis: (S, *shape), S = 1 for a constant."""
        tensor = self.tensor(i)
        if tensor.data is not None:
            return tensor.data.reshape(1, *tensor.shape)
        return self.values[self.op.inputs[i]]

    def constant(self, i: int) -> Array:
        """Input ``i`` without sample axis. Raises QuantError unless it is a constant."""
        tensor = self.tensor(i)
        if tensor.data is None:
            raise QuantError(f"{self.op.name} with a computed input {i}", hint="this input must be a constant")
        return tensor.data.reshape(tensor.shape)

    def integers(self, i: int) -> list[int]:
        """The values of a constant integer input, flattened."""
        return [int(value) for value in self.constant(i).reshape(-1)]

    def weights(self) -> Array:
        """Input 1: as in the file where it is constant, else with its sample axis."""
        return self.constant(1) if self.tensor(1).is_constant else self.x(1)

    def bias(self) -> Array | None:
        """Input 2, or None."""
        return self.constant(2) if self.has(2) else None

    def q(self, i: int = 0) -> Grid:
        """Grid of input ``i``."""
        return Grid.of(self.tensor(i))

    @property
    def out_q(self) -> Grid:
        """Grid of the output."""
        return Grid.of(self.tensors[self.op.outputs[0]])

    @property
    def out_shape(self) -> tuple[int, ...]:
        """File shape of the output."""
        return self.tensors[self.op.outputs[0]].shape

    def integer(self, name: str, default: int = 0) -> int:
        """An integer option; ``default`` is the schema's, which an options table without the field means."""
        return int(self.op.options.get(name, default))  # type: ignore[arg-type]

    def flag(self, name: str) -> bool:
        """A boolean option."""
        return bool(self.op.options.get(name, False))

    @property
    def activation(self) -> str:
        """Name of the fused activation."""
        return str(self.op.options.get("fused_activation_function", "NONE"))

    @property
    def padding(self) -> str:
        """SAME or VALID."""
        return str(self.op.options.get("padding", "SAME"))

    def pair(self, height: str, width: str, default: int) -> tuple[int, int]:
        """Two options, height first."""
        return self.integer(height, default), self.integer(width, default)

    def same_grids(self) -> None:
        """Raise QuantError unless all inputs that carry data have the output's grid: the operator does not rescale."""
        out = self.out_q
        for i in range(len(self.op.inputs)):
            if self.tensor(i).scale and (self.q(i).scale, self.q(i).zero_point) != (out.scale, out.zero_point):
                raise QuantError(f"{self.op.name} between different grids", hint="give its inputs and output one grid")


def _check_bias(call: Call) -> None:
    """Raise QuantError for a bias off scale_x * scale_w by over 2 % of an output step, as TFLite does; no scale: 0."""
    if not call.has(2) or len(call.q(1).scale) > 1:
        return
    product, bias = call.q().scale[0] * call.q(1).scale[0], call.tensor(2).scale
    if abs(product - (bias[0] if bias else 0.0)) / call.out_q.scale[0] > 0.02:
        raise QuantError("a bias on another grid than scale_x * scale_w", hint="give the bias that scale")


def _fully_connected(call: Call) -> Array:
    _check_bias(call)
    if call.op.options.get("weights_format", "DEFAULT") not in ("DEFAULT", 0):
        raise QuantError("shuffled FULLY_CONNECTED weights", hint="use the default weights format")
    return matmul.fully_connected(
        call.x(), call.weights(), call.bias(), x_q=call.q(), weights_q=call.q(1), out_q=call.out_q,
        activation=call.activation, keep_num_dims=call.flag("keep_num_dims"),
    )  # fmt: skip


def _convolution(kernel: Callable[..., Array]) -> Kernel:
    def run(call: Call) -> Array:
        return kernel(
            call.x(), call.constant(1), call.bias(), x_q=call.q(), weights_q=call.q(1), out_q=call.out_q,
            activation=call.activation, padding=call.padding, stride=call.pair("stride_h", "stride_w", 0),
            dilation=call.pair("dilation_h_factor", "dilation_w_factor", 1),
        )  # fmt: skip

    return run


def _fused(kernel: Callable[..., Array]) -> Kernel:
    def run(call: Call) -> Array:
        return kernel(call.x(), call.x(1), a_q=call.q(), b_q=call.q(1), out_q=call.out_q, activation=call.activation)

    return run


def _unary(kernel: Callable[..., Array]) -> Kernel:
    return lambda call: kernel(call.x(), x_q=call.q(), out_q=call.out_q)


def _select(kernel: Callable[[Array, Array], Array]) -> Kernel:
    def run(call: Call) -> Array:
        call.same_grids()
        return kernel(call.x(), call.x(1))

    return run


def _reduction(kernel: Callable[..., Array]) -> Kernel:
    def run(call: Call) -> Array:
        return kernel(call.x(), call.integers(1), x_q=call.q(), out_q=call.out_q, keep_dims=call.flag("keep_dims"))

    return run


def _reduce_max(call: Call) -> Array:
    call.same_grids()
    return reduce.reduce_max(call.x(), call.integers(1), keep_dims=call.flag("keep_dims"))


def _softmax(call: Call) -> Array:
    beta = call.op.options.get("beta", 0.0)
    return norm.softmax(call.x(), x_q=call.q(), out_q=call.out_q, beta=float(beta))  # type: ignore[arg-type]


def _squared_difference(call: Call) -> Array:
    return binary.squared_difference(call.x(), call.x(1), a_q=call.q(), b_q=call.q(1), out_q=call.out_q)


def _pool(kernel: Callable[..., Array]) -> Kernel:
    def run(call: Call) -> Array:
        call.same_grids()
        return kernel(
            call.x(), out_q=call.out_q, kernel=call.pair("filter_height", "filter_width", 0),
            stride=call.pair("stride_h", "stride_w", 0), padding=call.padding, activation=call.activation,
        )  # fmt: skip

    return run


def _reshape(call: Call) -> Array:
    return move.reshape(call.x(), call.out_shape)


def _concatenation(call: Call) -> Array:
    call.same_grids()
    if call.activation != "NONE":
        raise QuantError("CONCATENATION with a fused activation", hint="TFLite's integer kernel takes none")
    return move.concatenation([call.x(i) for i in range(len(call.op.inputs))], call.integer("axis"))


def _pack(call: Call) -> Array:
    call.same_grids()
    return move.pack([call.x(i) for i in range(len(call.op.inputs))], call.integer("axis"))


def _slice(call: Call) -> Array:
    return move.slice_(call.x(), call.integers(1), call.integers(2))


def _strided_slice(call: Call) -> Array:
    if call.integer("ellipsis_mask") or call.integer("new_axis_mask") or call.flag("offset"):
        raise QuantError(
            "STRIDED_SLICE with an ellipsis, a new axis or an offset", hint="write out begin, end and strides"
        )
    masks = {name: call.integer(name) for name in ("begin_mask", "end_mask", "shrink_axis_mask")}
    return move.strided_slice(call.x(), call.integers(1), call.integers(2), call.integers(3), **masks)


def _pad(call: Call) -> Array:
    call.same_grids()
    return move.pad(call.x(), call.constant(1), call.out_q.scalar()[1])


def _resize_nearest(call: Call) -> Array:
    height, width = call.integers(1)
    flags = {name: call.flag(name) for name in ("align_corners", "half_pixel_centers")}
    return move.resize_nearest_neighbor(call.x(), (height, width), **flags)


KERNELS: Mapping[str, Kernel] = {
    "ADD": _fused(binary.add),
    "AVERAGE_POOL_2D": _pool(pool.average_pool_2d),
    "CONCATENATION": _concatenation,
    "CONV_2D": _convolution(conv.conv_2d),
    "DEPTHWISE_CONV_2D": _convolution(conv.depthwise_conv_2d),
    "EXPAND_DIMS": _reshape,
    "FULLY_CONNECTED": _fully_connected,
    "L2_NORMALIZATION": _unary(norm.l2_normalization),
    "LOGISTIC": _unary(unary.logistic),
    "MAXIMUM": _select(binary.maximum),
    "MAX_POOL_2D": _pool(pool.max_pool_2d),
    "MEAN": _reduction(reduce.mean),
    "MINIMUM": _select(binary.minimum),
    "MUL": _fused(binary.mul),
    "PACK": _pack,
    "PAD": _pad,
    "QUANTIZE": _unary(unary.quantize),
    "REDUCE_MAX": _reduce_max,
    "RELU": _unary(unary.relu),
    "RELU6": _unary(unary.relu6),
    "RESHAPE": _reshape,
    "RESIZE_NEAREST_NEIGHBOR": _resize_nearest,
    "RSQRT": _unary(unary.rsqrt),
    "SLICE": _slice,
    "SOFTMAX": _softmax,
    "SPACE_TO_DEPTH": lambda call: move.space_to_depth(call.x(), call.integer("block_size")),
    "SQUARED_DIFFERENCE": _squared_difference,
    "SQUEEZE": _reshape,
    "STRIDED_SLICE": _strided_slice,
    "SUB": _fused(binary.sub),
    "SUM": _reduction(reduce.sum_),
    "TANH": _unary(unary.tanh),
    "TRANSPOSE": lambda call: move.transpose(call.x(), call.integers(1)),
}


def call_kernel(call: Call) -> Array:
    """The output of one operator, (S, *shape). Raises UnsupportedOp for an operator without a kernel."""
    if call.op.name not in KERNELS:
        raise UnsupportedOp(f"no exact kernel for {call.op.name}", hint="run the model with ai_edge_litert instead")
    return KERNELS[call.op.name](call)
