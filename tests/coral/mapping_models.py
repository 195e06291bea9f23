"""Small TensorFlow Lite models for the tests of mapping, compiler and runner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgevit_coral.model import OperatorSpec, OptionValue, TensorSpec, TfliteModel


@dataclass
class Net:
    """Builds a model operator by operator; every method returns a tensor index."""

    tensors: list[TensorSpec] = field(default_factory=list)
    operators: list[OperatorSpec] = field(default_factory=list)

    def activation(
        self, *shape: int, dtype: str = "int8", scale: float = 0.1, zero_point: int = 0, name: str = ""
    ) -> int:
        quantization = ((scale,), (zero_point,)) if "int8" in dtype else ((), ())
        self.tensors.append(TensorSpec(name or f"t{len(self.tensors)}", shape, dtype, *quantization))
        return len(self.tensors) - 1

    def constant(self, data: NDArray[np.generic], scale: float = 0.1, zero_point: int = 0, name: str = "") -> int:
        is_float = data.dtype == np.float32
        spec = TensorSpec(
            name or f"c{len(self.tensors)}",
            data.shape,
            data.dtype.name,
            () if is_float else (scale,),
            () if is_float else (zero_point,),
            data=data,
        )
        self.tensors.append(spec)
        return len(self.tensors) - 1

    def integers(self, values: Sequence[int] | Sequence[Sequence[int]]) -> int:
        data = np.asarray(values, np.int32)
        self.tensors.append(TensorSpec(f"i{len(self.tensors)}", data.shape, "int32", data=data))
        return len(self.tensors) - 1

    def op(self, name: str, version: int, inputs: Sequence[int], output: int, **options: OptionValue) -> int:
        self.operators.append(
            OperatorSpec(name, version, tuple(inputs), (output,), options, f"layer{len(self.operators)}")
        )
        return output

    def model(self, inputs: Sequence[int], *outputs: int) -> TfliteModel:
        return TfliteModel(tuple(self.tensors), tuple(self.operators), tuple(inputs), outputs)


def fully_connected(net: Net, source: int, size: int, version: int = 4) -> int:
    """A FULLY_CONNECTED of ``size`` outputs with constant int8 weights and int32 bias."""
    rows, width = net.tensors[source].shape
    weights = net.constant(np.ones((size, width), np.int8))
    bias = net.constant(np.zeros(size, np.int32), scale=0.01)
    return net.op(
        "FULLY_CONNECTED",
        version,
        (source, weights, bias),
        net.activation(rows, size),
        keep_num_dims=False,
        fused_activation_function="NONE",
    )


def chain(names: Sequence[tuple[str, int]], rows: int = 4, width: int = 8) -> TfliteModel:
    """Operators one after the other on int8 [rows, width]: unary by name, FULLY_CONNECTED with constant weights."""
    net = Net()
    source = current = net.activation(rows, width)
    for name, version in names:
        if name == "FULLY_CONNECTED":
            current = fully_connected(net, current, width, version)
        elif name == "SPLIT":
            current = net.op(name, version, (net.integers([1]), current), net.activation(rows, width))
        elif name == "TRANSPOSE_CONV":
            arguments = net.integers([rows, width]), net.constant(np.ones((1, 1), np.int8))
            current = net.op(name, version, (*arguments, current), net.activation(rows, width))
        else:
            current = net.op(name, version, (current,), net.activation(rows, width))
    return net.model((source,), current)


def attention(tokens: int = 49, key: int = 32, value: int = 128) -> TfliteModel:
    """One attention head as compiled EfficientFormer-L3 has it: rank-2 products whose weights are activations."""
    net = Net()
    query, keys = net.activation(tokens, key), net.activation(tokens, key)
    values = net.activation(value, tokens, zero_point=3)
    scores = net.op("FULLY_CONNECTED", 4, (query, keys, -1), net.activation(tokens, tokens), keep_num_dims=False)
    weights = net.op("SOFTMAX", 2, (scores,), net.activation(tokens, tokens, scale=1 / 256, zero_point=-128), beta=1.0)
    out = net.op("FULLY_CONNECTED", 4, (weights, values, -1), net.activation(tokens, value), keep_num_dims=False)
    return net.model((query, keys, values), out)


def colour_classifier(io: str = "uint8", size: int = 8, scale: float = 1 / 255, softmax: bool = False) -> TfliteModel:
    """CONV_2D, MEAN, FULLY_CONNECTED on [1, size, size, 3]: the logits are ten times the mean red, green and blue.

    ``io`` is the type of input and output, ``scale`` the input's; ``softmax`` ends the model with a SOFTMAX.
    """
    net = Net()
    zero = 0 if io == "uint8" else -128
    source = net.activation(1, size, size, 3, dtype=io, scale=scale, zero_point=zero, name="image")
    pixels = net.op("QUANTIZE", 1, (source,), net.activation(1, size, size, 3, scale=1 / 255, zero_point=-128))
    kernel = net.constant(np.eye(4, 3, dtype=np.int8).reshape(4, 1, 1, 3) * np.int8(127), scale=1 / 127)
    bias = net.constant(np.zeros(4, np.int32), scale=1 / 255 / 127)
    planes = net.op(
        "CONV_2D",
        3,
        (pixels, kernel, bias),
        net.activation(1, size, size, 4, scale=1 / 255, zero_point=-128),
        padding="VALID",
        stride_w=1,
        stride_h=1,
        dilation_w_factor=1,
        dilation_h_factor=1,
        fused_activation_function="NONE",
    )
    means = net.op(
        "MEAN",
        2,
        (planes, net.integers([1, 2])),
        net.activation(1, 4, scale=1 / 255, zero_point=-128),
        keep_dims=False,
    )
    weights = net.constant(np.eye(3, 4, dtype=np.int8) * np.int8(127), scale=10 / 127)
    offset = net.constant(np.zeros(3, np.int32), scale=10 / 255 / 127)
    logits = net.op(
        "FULLY_CONNECTED",
        4,
        (means, weights, offset),
        net.activation(1, 3, scale=10 / 255, zero_point=-128),
        keep_num_dims=False,
        fused_activation_function="NONE",
    )
    if softmax:
        probabilities = net.activation(1, 3, scale=1 / 256, zero_point=-128)
        logits = net.op("SOFTMAX", 2, (logits,), probabilities, beta=1.0)
    shift = 128 + zero
    out = net.tensors[logits]
    result = net.activation(1, 3, dtype=io, scale=out.scale[0], zero_point=out.zero_point[0] + shift, name="scores")
    return net.model((source,), net.op("QUANTIZE", 1, (logits,), result))
