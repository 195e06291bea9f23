"""Run a TFLite model, or one operator of it, exactly as TFLite's reference kernels do, on many samples at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from edgevit.errors import BackendError, EdgevitError

from .kernels.dispatch import Call, call_kernel
from .model import OperatorSpec, TensorSpec, TfliteModel

Array = NDArray[Any]


def run_operator(op: OperatorSpec, tensors: Sequence[TensorSpec], values: Mapping[int, Array]) -> Array:
    """The output of ``op``: (S, *shape) in the type of its tensor.

    ``values`` holds the inputs that are not constant, by tensor index, each (S, *shape). Raises QuantError where
    TFLite refuses the operator or would overflow, UnsupportedOp where there is no kernel, BackendError where the
    result is not as the file says.
    """
    output = tensors[op.outputs[0]]
    try:
        result = call_kernel(Call(op, tensors, values))
    except EdgevitError as error:
        where = error.where or op.loc or output.name
        raise type(error)(error.what, where=where, hint=error.hint) from error
    if result.shape[1:] != output.shape or result.dtype != output.dtype:
        raise BackendError(
            f"{op.name} gives {result.dtype}{list(result.shape[1:])}, the file says {output.dtype}{list(output.shape)}",
            where=op.loc or output.name,
            hint="the shapes or types of the file do not fit its operators",
        )
    return result


def run_model(
    model: TfliteModel, inputs: Sequence[Array], *, observe: Callable[[int, Array], None] | None = None
) -> list[Array]:
    """All outputs of the model for ``inputs``, one array (S, *shape) for each input of the file.

    ``observe`` is called with every computed tensor's index and value, inputs first. A value is dropped after its
    last use. Raises BackendError for inputs that do not fit, and what run_operator raises.
    """
    if len(inputs) != len(model.inputs):
        raise BackendError(f"{len(inputs)} inputs for a model of {len(model.inputs)}", hint="give one array an input")
    values: dict[int, Array] = {}
    for index, array in zip(model.inputs, inputs, strict=True):
        spec = model.tensors[index]
        if array.shape[1:] != spec.shape or array.dtype != spec.dtype:
            raise BackendError(
                f"{array.dtype}{list(array.shape)} for {spec.dtype} (samples, *{list(spec.shape)})",
                where=spec.name,
                hint="inputs carry one leading sample axis",
            )
        values[index] = array
        if observe is not None:
            observe(index, array)
    last = {index: position for position, op in enumerate(model.operators) for index in op.inputs}
    kept = set(model.outputs)
    for position, op in enumerate(model.operators):
        if len(op.outputs) != 1:
            raise BackendError(
                f"{op.name} with {len(op.outputs)} outputs", where=op.loc, hint="kernels have one output"
            )
        for index in op.inputs:
            if index >= 0 and index not in values and not model.tensors[index].is_constant:
                raise BackendError(
                    f"{op.name} reads a tensor that nothing computed",
                    where=op.loc,
                    hint="operators are in execution order",
                )
        result = run_operator(op, model.tensors, values)
        values[op.outputs[0]] = result
        if observe is not None:
            observe(op.outputs[0], result)
        for index in op.inputs:
            if last.get(index) == position and index not in kept:
                values.pop(index, None)
    return [_output(model, values, index) for index in model.outputs]


def _output(model: TfliteModel, values: Mapping[int, Array], index: int) -> Array:
    if index in values:
        return values[index]
    spec = model.tensors[index]
    if spec.data is None:
        raise BackendError("an output that nothing computed", where=spec.name, hint="the file is incomplete")
    return spec.data.reshape(1, *spec.shape)
