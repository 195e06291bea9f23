"""Names of the TFLite schema as writer and reader share them: operators, options tables, types, enumerations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import ModuleType

from edgevit.errors import ToolNotFound

IDENTIFIER = b"TFL3"
VERSION = 3

# deprecated_builtin_code is one byte; codes from here on stand in builtin_code alone and have this placeholder there.
PLACEHOLDER_CODE = 127

# The options table of each operator that has one; the writer writes no other, the reader reads any.
OPTIONS: Mapping[str, str] = {
    "ADD": "AddOptions",
    "ARG_MAX": "ArgMaxOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "BATCH_MATMUL": "BatchMatMulOptions",
    "CAST": "CastOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DEPTH_TO_SPACE": "DepthToSpaceOptions",
    "DEQUANTIZE": "DequantizeOptions",
    "DIV": "DivOptions",
    "EXP": "ExpOptions",
    "EXPAND_DIMS": "ExpandDimsOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "GATHER": "GatherOptions",
    "GELU": "GeluOptions",
    "HARD_SWISH": "HardSwishOptions",
    "L2_NORMALIZATION": "L2NormOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "MUL": "MulOptions",
    "NEG": "NegOptions",
    "PACK": "PackOptions",
    "PAD": "PadOptions",
    "PADV2": "PadV2Options",
    "POW": "PowOptions",
    "QUANTIZE": "QuantizeOptions",
    "REDUCE_MAX": "ReducerOptions",
    "REDUCE_MIN": "ReducerOptions",
    "RESHAPE": "ReshapeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "SLICE": "SliceOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SPACE_TO_DEPTH": "SpaceToDepthOptions",
    "SPLIT": "SplitOptions",
    "SQUARED_DIFFERENCE": "SquaredDifferenceOptions",
    "SQUEEZE": "SqueezeOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "SUB": "SubOptions",
    "SUM": "ReducerOptions",
    "TILE": "TileOptions",
    "TRANSPOSE": "TransposeOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
    "UNPACK": "UnpackOptions",
}

# Operators without an options table.
BARE = frozenset({"ELU", "LOGISTIC", "PRELU", "RELU", "RELU6", "RELU_N1_TO_1", "RSQRT", "SIN", "SQRT", "TANH"})

# Option fields that hold an enumeration, by their snake-case name.
ENUMERATIONS: Mapping[str, str] = {
    "fused_activation_function": "ActivationFunctionType",
    "padding": "Padding",
    "weights_format": "FullyConnectedOptionsWeightsFormat",
}


def schema() -> ModuleType:
    """The generated schema module. Raises ToolNotFound without ai-edge-litert."""
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise ToolNotFound("ai-edge-litert is not installed", hint="pip install 'edgevit[coral]'") from error
    module: ModuleType = schema_py_generated
    return module


@lru_cache(maxsize=64)
def numbers(enumeration: str) -> Mapping[str, int]:
    """Name to number of an enumeration of the schema."""
    return {name: value for name, value in vars(getattr(schema(), enumeration)).items() if isinstance(value, int)}


@lru_cache(maxsize=64)
def names(enumeration: str) -> Mapping[int, str]:
    """Number to name of an enumeration of the schema."""
    return {value: name for name, value in numbers(enumeration).items()}


def snake_case(name: str) -> str:
    """``fusedActivationFunction`` -> ``fused_activation_function``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
