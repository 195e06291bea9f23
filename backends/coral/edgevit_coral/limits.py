"""What edgetpu_compiler 16.0.384591198 accepts, as data: the single table that the mapping rules read.

Each fact carries the kind of evidence behind it (`Evidence`): ``artifact`` (read from models that the compiler
produced), ``ran`` (measured with TensorFlow 2.5.0, whose parser the compiler shares), ``doc`` (Coral's documentation
or its issue tracker) and ``infer`` (a conclusion). The compiler is closed source, so nothing here is a promise of it.
"""

from __future__ import annotations

from typing import Final, Literal

Evidence = Literal["artifact", "ran", "doc", "infer"]

# The compiler's own words, so that a prediction and a log can be compared as text.
MAPPED: Final = "Mapped to Edge TPU"
NOT_SUPPORTED: Final = "Operation not supported"
VERSION: Final = "Operation version not supported"
DATA_TYPE: Final = "Operation is working on an unsupported data type"
UNSPECIFIED: Final = "Operation is otherwise supported, but not mapped due to some unspecified limitation"
ONE_SUBGRAPH: Final = "More than one subgraph is not supported"
NOT_PARSED: Final = "Model could not be parsed"
NOT_COMPILED: Final = "Compilation failed"

STATUSES: Final = (MAPPED, NOT_SUPPORTED, VERSION, DATA_TYPE, UNSPECIFIED, ONE_SUBGRAPH)
"""Every status that the operator table of a compiler log can hold."""

HIGHEST_PARSED_VERSION: Final[dict[str, int]] = {
    "ADD": 3, "BATCH_MATMUL": 4, "CONCATENATION": 3, "CONV_2D": 5, "DEPTHWISE_CONV_2D": 6, "EXP": 1,
    "FULLY_CONNECTED": 9, "L2_NORMALIZATION": 2, "LOGISTIC": 3, "MEAN": 3, "MUL": 4, "PACK": 3, "PAD": 3,
    "QUANTIZE": 2, "RESHAPE": 1, "RSQRT": 2, "SLICE": 5, "SOFTMAX": 3, "SPLIT": 4, "SQUARED_DIFFERENCE": 2,
    "STRIDED_SLICE": 5, "SUB": 5, "SUM": 2, "TANH": 3, "TILE": 2, "TRANSPOSE": 5, "TRANSPOSE_CONV": 3,
}  # fmt: skip
"""Highest op version that the compiler's TensorFlow 2.5 parser knows [ran]; EXP and TRANSPOSE_CONV from
libedgetpu#71, edgetpu#845 [doc].

One op beyond it makes the parser refuse the whole model.
"""

HIGHEST_MAPPED_VERSION: Final[dict[str, int]] = {
    "ADD": 2, "AVERAGE_POOL_2D": 2, "CONCATENATION": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "EXPAND_DIMS": 1,
    "FULLY_CONNECTED": 4, "L2_NORMALIZATION": 2, "LOGISTIC": 2, "MAXIMUM": 2, "MAX_POOL_2D": 2, "MEAN": 2,
    "MINIMUM": 2, "MUL": 2, "PACK": 2, "PAD": 2, "PRELU": 1, "QUANTIZE": 2, "REDUCE_MAX": 2, "REDUCE_MIN": 2,
    "RELU": 2, "RELU6": 2, "RESHAPE": 1, "RESIZE_BILINEAR": 3, "RESIZE_NEAREST_NEIGHBOR": 3, "RSQRT": 2, "SLICE": 2,
    "SOFTMAX": 2, "SPACE_TO_DEPTH": 2, "SPLIT": 2, "SQUARED_DIFFERENCE": 2, "SQUEEZE": 1, "STRIDED_SLICE": 2,
    "SUB": 2, "SUM": 2, "TANH": 2, "TILE": 1, "TRANSPOSE": 2, "TRANSPOSE_CONV": 3,
}  # fmt: skip
"""Highest op version seen mapped by compiler 16 [artifact]; an op that is absent has never been seen mapped."""

UNPARSED_BUILTINS: Final[dict[str, int]] = {
    "GELU": 150, "DYNAMIC_UPDATE_SLICE": 151, "RELU_0_TO_1": 152, "UNSORTED_SEGMENT_PROD": 153,
    "UNSORTED_SEGMENT_MAX": 154, "UNSORTED_SEGMENT_SUM": 155, "ATAN2": 156, "UNSORTED_SEGMENT_MIN": 157, "SIGN": 158,
    "BITCAST": 159, "BITWISE_XOR": 160, "RIGHT_SHIFT": 161, "DILATE": 203, "REDUCE_WINDOW": 205,
}  # fmt: skip
"""Builtin operators newer than the compiler's parser, by code: 150 [ran], 151 (edgetpu#862) [doc], above [infer]."""

UNPARSED_PREFIX: Final = "STABLEHLO_"
"""All builtins of this family have codes above 161."""

NEVER_MAPPED: Final[dict[str, str]] = {
    "BATCH_MATMUL": "split it per head (and batch) into rank-2 FULLY_CONNECTED v4 ops whose weights are an activation",
    "GELU": "replace GELU by x*sigmoid(1.702x) (LOGISTIC and MUL), its tanh form, or its ReLU6 form",
    "ERF": "replace GELU by x*sigmoid(1.702x) (LOGISTIC and MUL), its tanh form, or its ReLU6 form",
    "GATHER": "replace GATHER with constant indices by SLICE or STRIDED_SLICE and CONCATENATION",
    "DIV": "multiply by the reciprocal: a constant, or RSQRT of the squared divisor",
    "SQRT": "multiply by RSQRT instead of dividing by SQRT",
    "EXP": "use SOFTMAX or LOGISTIC, which contain the exponential",
    "POW": "square with MUL, take inverse roots with RSQRT",
    "NEG": "fold the sign into a constant, or subtract with SUB",
    "CAST": "keep the whole model int8: use QUANTIZE to change the quantization",
    "HARD_SWISH": "replace HARD_SWISH by ADD with a fused RELU6 and MUL",
    "LEAKY_RELU": "replace LEAKY_RELU by PRELU with a 1-D alpha, or by MAXIMUM(x, a*x)",
    "PADV2": "pad with zero (PAD)",
    "UNPACK": "replace UNPACK by STRIDED_SLICE ops",
    "DEQUANTIZE": "export with uint8 or int8 outputs (--io uint8 | int8) and dequantize in the application",
}
"""Ops that no compiled model has on the Edge TPU [artifact], each with what to use in its place."""

RUNTIME_VERSION: Final[dict[str, int]] = {"EXPAND_DIMS": 13, "REDUCE_MAX": 14, "REDUCE_MIN": 14, "RSQRT": 14, "SUM": 13}
"""Lowest Edge TPU runtime (libedgetpu) version that executes the op [doc]; an absent op runs on any."""

SHAPE_OPERANDS: Final[dict[str, tuple[int, ...]]] = {
    "EXPAND_DIMS": (1,), "MEAN": (1,), "PAD": (1,), "REDUCE_MAX": (1,), "REDUCE_MIN": (1,), "RESHAPE": (1,),
    "RESIZE_BILINEAR": (1,), "RESIZE_NEAREST_NEIGHBOR": (1,), "SLICE": (1, 2), "SPLIT": (0,),
    "STRIDED_SLICE": (1, 2, 3), "SUM": (1,), "TILE": (1,), "TRANSPOSE": (1,), "TRANSPOSE_CONV": (0,),
}  # fmt: skip
"""Input positions of integer arguments (axes, shapes, paddings): constants that take no parameter memory."""

WEIGHT_OPERANDS: Final[dict[str, tuple[int, ...]]] = {
    "CONV_2D": (1,), "DEPTHWISE_CONV_2D": (1,), "TRANSPOSE_CONV": (1,), "PRELU": (1,),
}  # fmt: skip
"""Input positions of weights that must be constant; those of FULLY_CONNECTED may be an activation [artifact]."""

BIAS_OPERANDS: Final[dict[str, int]] = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}
"""Input position of the int32 bias."""

ACTIVATION_TYPES: Final = frozenset({"int8", "uint8"})
ARGUMENT_TYPES: Final = frozenset({"int32", "int64"})

ON_CHIP_BYTES: Final = int(7.7 * 2**20)
"""Parameters that the Edge TPU caches, about 7.7 MiB; the rest is streamed from the host at every inference."""

REDUCTIONS: Final = frozenset({"MEAN", "REDUCE_MAX", "REDUCE_MIN", "SUM"})
NO_FUSED_ACTIVATION: Final = frozenset({"AVERAGE_POOL_2D", "CONCATENATION", "MAX_POOL_2D"})
MEAN_CHANNEL_MULTIPLE: Final = 4
UNMAPPED_TRANSPOSE_ELEMENTS: Final = 64 * 256 * 3
"""Elements of the layout change [1,64,256,3] -> [1,3,256,64] that was left on the CPU [artifact]."""

PROVEN_FC_ROWS: Final = 49
"""Most rows of a FULLY_CONNECTED input seen mapped [artifact]."""
PROVEN_FC_ACTIVATION_SIZE: Final = 128
"""Largest side of an activation used as FULLY_CONNECTED weights seen mapped ([128, 49]) [artifact]."""
PROVEN_SOFTMAX_ROWS: Final = 4 * 49
PROVEN_SOFTMAX_SIZE: Final = 16384
"""SOFTMAX seen mapped on [1,4,49,49] and [1,16384] [artifact], beyond the documented 16,000 in one dimension."""
PROVEN_TRANSPOSE_ELEMENTS: Final = 49 * 4 * 32
"""Elements of [1,49,4,32] -> [1,4,49,32], seen mapped [artifact]."""
