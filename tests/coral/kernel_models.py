"""One-operator models for the kernel tests, and LiteRT's reference kernels to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgevit_coral.execute import run_model
from edgevit_coral.model import OperatorSpec, OptionValue, TensorSpec, TfliteModel
from edgevit_coral.writer import write

Array = NDArray[Any]

EVERY_INT8 = np.arange(-128, 128, dtype=np.int8)[None]

# Seeds drive the numpy generator: hypothesis explores them together with shapes and grids, and shrinks those.
SEEDS = st.integers(0, 2**32 - 1)
ZERO_POINTS = st.one_of(st.sampled_from([-128, 0, 127]), st.integers(-128, 127))
ACTIVATIONS = st.sampled_from(["NONE", "RELU", "RELU6"])


def scales(low: float, high: float) -> st.SearchStrategy[float]:
    """float32 scales between 2**low and 2**high, spread evenly over their logarithm, powers of two among them."""
    whole = st.integers(int(np.ceil(low)), int(np.floor(high))).map(float)
    return st.one_of(st.floats(low, high), whole).map(lambda exponent: float(np.float32(2.0**exponent)))


def examples(count: int) -> settings:
    """Settings of a property test against LiteRT: the same examples in every run."""
    return settings(max_examples=count, deadline=None, derandomize=True, database=None)


def tensor(
    shape: Sequence[int],
    scale: float | Sequence[float] = (),
    zero_point: int = 0,
    *,
    dtype: str = "int8",
    data: Array | None = None,
    axis: int = 0,
) -> TensorSpec:
    """A tensor; one scale or one a channel, one zero point for all."""
    values = (scale,) if isinstance(scale, float) else tuple(scale)
    grid = tuple(float(np.float32(value)) for value in values)
    return TensorSpec("", tuple(shape), dtype, grid, (zero_point,) * len(grid), axis, data)


def integers(*values: int) -> TensorSpec:
    """A constant int32 vector."""
    return tensor((len(values),), dtype="int32", data=np.array(values, dtype=np.int32))


def model(
    name: str, inputs: Sequence[TensorSpec | None], output: TensorSpec, version: int = 2, **options: OptionValue
) -> TfliteModel:
    """A model of one operator; inputs without data are the model's inputs."""
    given = [spec for spec in inputs if spec is not None]
    indices = tuple(-1 if spec is None else next(i for i, item in enumerate(given) if item is spec) for spec in inputs)
    op = OperatorSpec(name, version, indices, (len(given),), options)
    free = tuple(i for i, spec in enumerate(given) if spec.data is None)
    return TfliteModel((*given, output), (op,), free, (len(given),))


def random_int8(seed: int, *shape: int) -> Array:
    """Stored values with the extremes over-represented."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-128, 128, shape)
    extreme = rng.choice(np.array([-128, 127]), shape)
    return np.where(rng.random(shape) < 0.2, extreme, values).astype(np.int8)


def litert(model: TfliteModel, inputs: Sequence[Array], resolver: str = "BUILTIN_REF") -> Array:
    """The first output as LiteRT computes it, sample by sample."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=write(model), experimental_op_resolver_type=getattr(OpResolverType, resolver)
    )
    interpreter.allocate_tensors()
    details: Sequence[Mapping[str, Any]] = interpreter.get_input_details()
    output = interpreter.get_output_details()[0]["index"]
    results = []
    for sample in range(inputs[0].shape[0]):
        for detail, array in zip(details, inputs, strict=True):
            interpreter.set_tensor(detail["index"], array[sample])
        interpreter.invoke()
        results.append(interpreter.get_tensor(output).copy())
    return np.stack(results)


def assert_exact(model: TfliteModel, *inputs: Array) -> Array:
    """Our kernel's result, after asserting that LiteRT's is the same bit for bit."""
    (ours,) = run_model(model, inputs)
    theirs = litert(model, inputs)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)
    return ours
