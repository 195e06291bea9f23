"""The files of three models, read back from their bytes, are what edgetpu_compiler 16 takes as far as is known."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit_coral import limits
from edgevit_coral.mapping import predict
from edgevit_coral.model import OperatorSpec, TensorSpec
from tests.conformance.compiled import Exported
from tests.tools import requires

pytestmark = requires("torch", "litert", "timm")

BYTES_PER_PARAMETER, FIXED_BYTES = 1.1, 150_000
RANK = {"FULLY_CONNECTED": 2, "CONV_2D": 4, "DEPTHWISE_CONV_2D": 4, "AVERAGE_POOL_2D": 4, "MAX_POOL_2D": 4}


@pytest.fixture(params=["embedded", "deit_tiny", "deit_small"])
def exported(request: pytest.FixtureRequest) -> Exported:
    """Each of the three models."""
    found: Exported = request.getfixturevalue(request.param)
    return found


def operands(exported: Exported, op: OperatorSpec) -> list[TensorSpec]:
    """Tensors that an op reads and writes."""
    return [exported.model.tensors[index] for index in (*op.inputs, *op.outputs) if index >= 0]


def test_every_op_is_mapped_in_one_subgraph(exported: Exported) -> None:
    prediction = predict(exported.model)
    assert [(op.operator, op.loc, op.why) for op in prediction.ops if not op.mapped] == []
    assert (prediction.summary.fraction, prediction.subgraphs, prediction.rejected) == (1.0, 1, "")
    assert prediction.summary.total > 100
    assert exported.model.subgraph_count == 1


def test_the_report_says_the_same(exported: Exported) -> None:
    mapping = exported.emitted.mapping
    assert mapping is not None
    assert (mapping.mapped, mapping.total) == (len(exported.model.operators),) * 2
    assert (mapping.subgraphs, mapping.float_ops, mapping.float_tensors) == (1, 0, ())


def test_no_float_tensor(exported: Exported) -> None:
    """Constants count too. Two inputs of a file with uint8 in front are bytes; everything else is int8 or int32."""
    kinds = {tensor.dtype for tensor in exported.model.tensors}
    assert kinds <= {"int8", "uint8", "int32"}
    outside = {*exported.model.inputs, *exported.model.outputs}
    bytes_ = {index for index, tensor in enumerate(exported.model.tensors) if tensor.dtype == "uint8"}
    assert bytes_ <= outside | {i for op in exported.model.operators for i in op.outputs if op.name == "QUANTIZE"}


def test_no_op_is_newer_than_was_seen_mapped(exported: Exported) -> None:
    for op in exported.model.operators:
        assert op.version <= limits.HIGHEST_MAPPED_VERSION[op.name], (op.name, op.version, op.loc)
        assert op.version <= limits.HIGHEST_PARSED_VERSION.get(op.name, op.version), (op.name, op.version, op.loc)
        assert op.name not in limits.NEVER_MAPPED


def test_ranks_and_batches(exported: Exported) -> None:
    """FULLY_CONNECTED on rank 2 only, activations of at most four dimensions, 1 outside the innermost three."""
    for op in exported.model.operators:
        for tensor in operands(exported, op):
            assert len(tensor.shape) <= 4, (op.name, op.loc)
            assert all(size == 1 for size in tensor.shape[:-3]) or tensor.is_constant, (op.name, op.loc, tensor.shape)
            assert all(size > 0 for size in tensor.shape)
        if op.name in RANK:
            ranks = {
                len(exported.model.tensors[index].shape)
                for index in (op.inputs[0], op.inputs[1], *op.outputs)
                if index >= 0 and exported.model.tensors[index].dtype != "int32"
            }
            assert ranks == {RANK[op.name]}, (op.name, op.loc)


def test_weights_and_biases(exported: Exported) -> None:
    """int8 symmetric weights, int32 biases on the product of the scales of input and weights."""
    found = 0
    for op in exported.model.operators:
        if op.name not in ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D"):
            continue
        x, weights = (exported.model.tensors[index] for index in op.inputs[:2])
        if weights.is_constant:
            assert weights.dtype == "int8"
            assert set(weights.zero_point) == {0}
            found += 1
        if len(op.inputs) > 2 and op.inputs[2] >= 0:
            bias = exported.model.tensors[op.inputs[2]]
            assert bias.dtype == "int32"
            product = np.float64(x.scale[0]) * np.array(weights.scale)
            np.testing.assert_allclose(bias.scale, product, rtol=1e-6)
    assert found > 10


def test_the_products_of_attention_are_fully_connected(exported: Exported) -> None:
    """Two for each head of each block, with an activation as weights."""
    heads = {192: (12, 3), 384: (12, 6)}
    products = [
        op
        for op in exported.model.operators
        if op.name == "FULLY_CONNECTED" and not exported.model.tensors[op.inputs[1]].is_constant
    ]
    softmaxes = [op for op in exported.model.operators if op.name == "SOFTMAX"]
    assert len(products) == 2 * len(softmaxes) > 0
    dim = exported.compiled.model.program.state_dict.get("pos_embed")
    if exported.compiled.options.model.startswith("timm:"):
        assert dim is not None
        blocks, count = heads[dim.shape[-1]]
        assert len(softmaxes) == blocks * count


def test_the_image_is_declared_as_classifiers_expect(exported: Exported) -> None:
    (image,) = (exported.model.tensors[index] for index in exported.model.inputs)
    assert (image.dtype, image.scale, image.zero_point) == ("uint8", (1 / 128,), (128,))
    height, width = exported.compiled.model.preprocess.size
    assert image.shape == (1, height, width, 3)


def test_file_size(exported: Exported) -> None:
    """At most 1.1 bytes a parameter and 150 kB."""
    size, parameters = exported.path.stat().st_size, exported.emitted.size.parameters
    print(f"{exported.compiled.model.name}: {size} bytes, {size / parameters:.4f} a parameter")
    assert parameters > 800_000
    assert size <= BYTES_PER_PARAMETER * parameters + FIXED_BYTES
