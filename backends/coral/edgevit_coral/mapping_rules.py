"""The rules that decide whether one operator can run on the Edge TPU, each with its reason, its remedy and its
evidence.

A rule looks at a single operator; what follows from its place in the graph (one partition) is decided in
``mapping.py``. The numbers and lists stand in ``limits.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from . import limits
from .limits import Evidence
from .model import OperatorSpec, TensorSpec, TfliteModel


@dataclass(frozen=True)
class Problem:
    """One reason that keeps an operator off the Edge TPU.

    ``status`` is the compiler's wording, ``why`` the exact fact, ``remedy`` what a user can do. ``rejects_model``
    marks what stops the compiler from compiling anything at all.
    """

    status: str
    why: str
    remedy: str
    evidence: Evidence
    rejects_model: bool = False


@dataclass(frozen=True, eq=False)
class OpView:
    """An operator together with its model, with the look-ups that the rules share."""

    model: TfliteModel
    op: OperatorSpec

    def input(self, position: int) -> TensorSpec | None:
        """Tensor at an input position, or None where it is absent."""
        if position >= len(self.op.inputs) or self.op.inputs[position] < 0:
            return None
        return self.model.tensors[self.op.inputs[position]]

    def output(self, position: int = 0) -> TensorSpec:
        """Tensor at an output position."""
        return self.model.tensors[self.op.outputs[position]]

    def value_inputs(self) -> Iterator[tuple[int, TensorSpec]]:
        """(position, tensor) of every input that is neither an integer argument nor a bias."""
        skip = {*limits.SHAPE_OPERANDS.get(self.op.name, ()), limits.BIAS_OPERANDS.get(self.op.name, -1)}
        for position in range(len(self.op.inputs)):
            tensor = self.input(position)
            if tensor is not None and position not in skip:
                yield position, tensor

    def activations(self) -> Iterator[TensorSpec]:
        """Every input that is not constant, then every output."""
        yield from (tensor for _, tensor in self.value_inputs() if not tensor.is_constant)
        yield from (self.model.tensors[index] for index in self.op.outputs)

    def integers(self, position: int) -> tuple[int, ...]:
        """Values of a constant integer argument; empty where it is absent or not constant."""
        tensor = self.input(position)
        if tensor is None or tensor.data is None:
            return ()
        return tuple(int(value) for value in np.asarray(tensor.data).reshape(-1))

    def axes(self, position: int, rank: int) -> frozenset[int]:
        """Values of an axis argument, counted from the front of a tensor of ``rank`` dimensions."""
        return frozenset(axis + rank if axis < 0 else axis for axis in self.integers(position))

    def option(self, name: str, default: int) -> int:
        """An integer or boolean option."""
        value = self.op.options.get(name, default)
        return int(value) if isinstance(value, (int, float)) else default


Rule = Callable[[OpView], Iterator[Problem]]


def _parse(view: OpView) -> Iterator[Problem]:
    name, version = view.op.name, view.op.version
    if name in limits.UNPARSED_BUILTINS or name.startswith(limits.UNPARSED_PREFIX):
        code = limits.UNPARSED_BUILTINS.get(name)
        remedy = limits.NEVER_MAPPED.get(name, f"express {name} by operators that TensorFlow Lite 2.5 has")
        message = f"Op builtin_code out of range: {code}" if code is not None else "Op builtin_code out of range"
        yield Problem(limits.NOT_PARSED, f"{message} ({name} is newer than the compiler's parser)", remedy, "ran", True)
    highest = limits.HIGHEST_PARSED_VERSION.get(name)
    if highest is not None and version > highest:
        why = f"Didn't find op for builtin opcode '{name}' version '{version}': the compiler parses at most {highest}"
        best = limits.HIGHEST_MAPPED_VERSION.get(name)
        remedy = limits.NEVER_MAPPED.get(name, "") if best is None else _version_remedy(name, best)
        yield Problem(limits.NOT_PARSED, why, remedy or f"write {name} at version {highest} or lower", "ran", True)


def _version_remedy(name: str, highest: int) -> str:
    return f"write {name} at version {highest} or lower (`edgevit export --target coral` does)"


def _supported(view: OpView) -> Iterator[Problem]:
    name, version = view.op.name, view.op.version
    highest = limits.HIGHEST_MAPPED_VERSION.get(name)
    if highest is None:
        if name in limits.UNPARSED_BUILTINS or name.startswith(limits.UNPARSED_PREFIX):
            return
        if name in limits.NEVER_MAPPED:
            # The compiler words a float output differently from an operator that it does not know.
            status = limits.DATA_TYPE if name == "DEQUANTIZE" else limits.NOT_SUPPORTED
            yield Problem(
                status, f"{name} is in no compiled model on the Edge TPU", limits.NEVER_MAPPED[name], "artifact"
            )
        else:
            remedy = f"express {name} by operators that the Edge TPU has"
            yield Problem(limits.NOT_SUPPORTED, f"{name} has never been seen mapped", remedy, "infer")
    elif version > highest:
        why = f"{name} v{version}: highest version seen mapped is {highest}"
        yield Problem(limits.VERSION, why, _version_remedy(name, highest), "artifact")


def _types(view: OpView) -> Iterator[Problem]:
    if view.op.name not in limits.HIGHEST_MAPPED_VERSION:
        return
    tensors = [*(tensor for _, tensor in view.value_inputs()), *(view.model.tensors[i] for i in view.op.outputs)]
    wrong = [tensor for tensor in tensors if tensor.dtype not in limits.ACTIVATION_TYPES]
    if not wrong:
        return
    why = f"tensor {wrong[0].name!r} is {wrong[0].dtype}; the Edge TPU computes on int8 and uint8"
    if view.op.name == "QUANTIZE":
        remedy = "export with uint8 or int8 inputs (--io uint8 | int8) and quantize in the application"
        yield Problem(limits.UNSPECIFIED, why, remedy, "artifact")
    else:
        yield Problem(limits.DATA_TYPE, why, "quantize every activation and weight to int8", "doc")


def _arguments(view: OpView) -> Iterator[Problem]:
    name = view.op.name
    for position in limits.SHAPE_OPERANDS.get(name, ()):
        tensor = view.input(position)
        if tensor is not None and (not tensor.is_constant or tensor.dtype not in limits.ARGUMENT_TYPES):
            why = (
                f"argument {tensor.name!r} of {name} is {'not int32' if tensor.is_constant else 'computed at run time'}"
            )
            yield Problem(limits.DATA_TYPE, why, "make axes, shapes and paddings int32 constants", "doc")
    for position in (*limits.WEIGHT_OPERANDS.get(name, ()), limits.BIAS_OPERANDS.get(name, -1)):
        parameter = view.input(position) if position >= 0 else None
        if parameter is not None and not parameter.is_constant:
            why = f"parameter {parameter.name!r} of {name} is computed at run time"
            yield Problem(limits.UNSPECIFIED, why, f"make the weights and bias of {name} constant", "doc")
    bias = view.input(limits.BIAS_OPERANDS[name]) if name in limits.BIAS_OPERANDS else None
    if bias is not None and bias.dtype != "int32":
        why = f"bias {bias.name!r} of {name} is {bias.dtype}, not int32"
        yield Problem(limits.DATA_TYPE, why, "quantize biases to int32 at scale input*weight", "doc")


def _shapes(view: OpView) -> Iterator[Problem]:
    for tensor in view.activations():
        if any(size < 1 for size in tensor.shape):
            why = f"tensor {tensor.name!r} has the dynamic or empty shape {list(tensor.shape)}"
            yield Problem(limits.NOT_COMPILED, why, "export with a fixed batch and image size", "doc", True)
        elif view.op.name in limits.HIGHEST_MAPPED_VERSION and any(size > 1 for size in tensor.shape[:-3]):
            why = (
                f"tensor {tensor.name!r} of shape {list(tensor.shape)} exceeds 1 outside its three innermost dimensions"
            )
            yield Problem(limits.UNSPECIFIED, why, "split the outer dimension (batch 1, one op per head)", "doc")


def _options(view: OpView) -> Iterator[Problem]:
    op = view.op
    fused = op.options.get("fused_activation_function", "NONE")
    if op.name in limits.NO_FUSED_ACTIVATION and fused not in ("NONE", 0):
        yield Problem(limits.UNSPECIFIED, f"{op.name} has {fused} fused", f"make the {fused} an op of its own", "doc")
    if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        across, down = view.option("dilation_w_factor", 1), view.option("dilation_h_factor", 1)
        if across != down:
            why = f"{op.name} has dilation {across} in x and {down} in y"
            yield Problem(limits.UNSPECIFIED, why, "use the same dilation in x and y", "doc")
    if op.name == "FULLY_CONNECTED" and op.options.get("weights_format", "DEFAULT") not in ("DEFAULT", 0):
        why = f"FULLY_CONNECTED has weights format {op.options['weights_format']}"
        yield Problem(limits.UNSPECIFIED, why, "write the weights in the default format", "doc")
    if op.name == "STRIDED_SLICE":
        if any(stride != 1 for stride in view.integers(3)):
            why = f"STRIDED_SLICE has strides {list(view.integers(3))}"
            yield Problem(
                limits.UNSPECIFIED, why, "take strides of 1 (a strided view can become a pool or a CONV_2D)", "doc"
            )
        if view.option("ellipsis_mask", 0) or view.option("new_axis_mask", 0):
            remedy = "spell the ellipsis out, and add axes with RESHAPE"
            yield Problem(limits.UNSPECIFIED, "STRIDED_SLICE has an ellipsis or new-axis mask", remedy, "doc")


def _concatenation(view: OpView) -> Iterator[Problem]:
    if view.op.name != "CONCATENATION":
        return
    constants = [tensor for _, tensor in view.value_inputs() if tensor.data is not None]
    if not constants:
        return
    remedy = "concatenate zeros (or PAD) and ADD a constant that holds the values"
    if len(view.op.inputs) != 2:
        count = len(view.op.inputs)
        why = f"CONCATENATION has {count} inputs, one the constant {constants[0].name!r}; exactly two are allowed"
        yield Problem(limits.UNSPECIFIED, why, remedy, "doc")
    for tensor in constants:
        zero = tensor.zero_point[0] if tensor.zero_point else 0
        if bool(np.any(np.asarray(tensor.data) != zero)):
            why = f"constant {tensor.name!r} of CONCATENATION is not all zero (zero point {zero})"
            yield Problem(limits.UNSPECIFIED, why, remedy, "doc")


def _axes(view: OpView) -> Iterator[Problem]:
    name, source = view.op.name, view.input(1 if view.op.name == "SPLIT" else 0)
    if source is None:
        return
    shape, rank = source.shape, len(source.shape)
    # Coral documents the batch dimension of rank 4; that the outermost of fewer dimensions counts as it is read off
    # SPLIT.
    batch_evidence: Evidence = "doc" if rank > 3 else "infer"
    if name in limits.REDUCTIONS:
        axes = view.axes(1, rank)
        if rank > 1 and 0 in axes:
            remedy = "keep the batch out of the reduced axes: RESHAPE [n, c] to [1, n, c] and reduce axis 1"
            yield Problem(
                limits.UNSPECIFIED, f"{name} of {list(shape)} reduces the batch dimension", remedy, batch_evidence
            )
        if name == "MEAN" and rank - 1 in axes and shape[-1] % limits.MEAN_CHANNEL_MULTIPLE:
            why = f"MEAN reduces {shape[-1]} channels, not a multiple of {limits.MEAN_CHANNEL_MULTIPLE}"
            yield Problem(
                limits.UNSPECIFIED, why, "pad the channels to a multiple of 4, or average with a FULLY_CONNECTED", "doc"
            )
    elif name == "PAD" and rank > 1 and any(view.integers(1)[:2]):
        remedy = "RESHAPE so that a leading dimension of 1 stays unpadded"
        yield Problem(limits.UNSPECIFIED, f"PAD of {list(shape)} pads the batch dimension", remedy, batch_evidence)
    elif name == "PACK" and len(view.output().shape) > 3 and view.option("axis", 0) in (0, -len(view.output().shape)):
        remedy = "pack to a rank-3 result, or along an inner axis"
        yield Problem(
            limits.UNSPECIFIED, f"PACK to {list(view.output().shape)} stacks the batch dimension", remedy, "doc"
        )
    elif name == "SPLIT" and 0 in view.axes(0, rank):
        why = f"SPLIT of {list(shape)} along axis 0 was left on the CPU"
        yield Problem(limits.UNSPECIFIED, why, "slice with STRIDED_SLICE, or split along an inner axis", "artifact")
    elif name == "PRELU":
        alpha = view.input(1)
        if alpha is not None and any(size > 1 for size in alpha.shape[:-1]):
            why = f"PRELU has alpha of shape {list(alpha.shape)}"
            yield Problem(
                limits.UNSPECIFIED, why, "share alpha over height and width (1-D, one value a channel)", "doc"
            )


def _transpose(view: OpView) -> Iterator[Problem]:
    source = view.input(0)
    if view.op.name != "TRANSPOSE" or source is None:
        return
    rank = len(source.shape)
    moved = [axis % rank for axis in view.integers(1) if -rank <= axis < rank and source.shape[axis] > 1]
    elements = int(np.prod(source.shape))
    # All three spatial and channel dimensions take part and the channels leave the innermost place: a layout change.
    if len(moved) == 3 and moved[-1] != max(moved) and elements >= limits.UNMAPPED_TRANSPOSE_ELEMENTS:
        why = (
            f"TRANSPOSE {list(source.shape)} -> {list(view.output().shape)} is a layout change of {elements} elements; "
            f"one of {limits.UNMAPPED_TRANSPOSE_ELEMENTS} was left on the CPU"
        )
        yield Problem(
            limits.UNSPECIFIED, why, "keep the channels innermost (NHWC), or transpose one head at a time", "artifact"
        )


RULES: tuple[Rule, ...] = (_parse, _supported, _types, _arguments, _shapes, _options, _concatenation, _axes, _transpose)


def problems(model: TfliteModel, op: OperatorSpec) -> tuple[Problem, ...]:
    """Every reason that keeps ``op`` off the Edge TPU (empty if there is none); the first one gives the status."""
    view = OpView(model, op)
    return tuple(problem for rule in RULES for problem in rule(view))


def notes(model: TfliteModel, op: OperatorSpec) -> tuple[str, ...]:
    """What is predicted mapped without a compiled model of that size as proof: one sentence per fact."""
    view = OpView(model, op)
    source, found = view.input(0), list[str]()
    if source is None:
        return ()
    elements = int(np.prod(source.shape))
    rows = elements // max(source.shape[-1], 1) if source.shape else 1
    if op.name == "FULLY_CONNECTED":
        weights = view.input(1)
        if rows > limits.PROVEN_FC_ROWS:
            found.append(f"unproven size: {rows} rows; seen mapped up to {limits.PROVEN_FC_ROWS}")
        if weights is not None and not weights.is_constant:
            if max(weights.shape, default=0) > limits.PROVEN_FC_ACTIVATION_SIZE:
                limit = limits.PROVEN_FC_ACTIVATION_SIZE
                found.append(f"unproven size: activation weights {list(weights.shape)}; seen mapped up to {limit}")
            if view.option("keep_num_dims", 0):
                found.append("unproven form: activation weights with keep_num_dims; seen mapped with a 2-D output")
    elif op.name == "SOFTMAX" and (
        rows > limits.PROVEN_SOFTMAX_ROWS or source.shape[-1:] > (limits.PROVEN_SOFTMAX_SIZE,)
    ):
        found.append(f"unproven size: SOFTMAX {list(source.shape)}; seen mapped on [1, 4, 49, 49] and [1, 16384]")
    elif op.name == "TRANSPOSE" and elements > limits.PROVEN_TRANSPOSE_ELEMENTS:
        limit = limits.PROVEN_TRANSPOSE_ELEMENTS
        found.append(f"unproven size: TRANSPOSE of {elements} elements; seen mapped up to {limit}")
    elif op.name.startswith("RESIZE_"):
        found.append("unproven: some input and output sizes are left on the CPU to avoid a loss of precision")
    return tuple(found)
