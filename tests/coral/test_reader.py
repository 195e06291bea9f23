"""The reader: what was written comes back, and no file, however broken, gets more out of it than a BackendError."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevit.errors import BackendError
from edgevit_coral import reader
from edgevit_coral.model import OperatorSpec, TensorSpec, TfliteModel
from edgevit_coral.reader import read
from edgevit_coral.writer import write
from tests.coral.kernel_models import examples, integers, model, random_int8, tensor
from tests.tools import requires

pytestmark = requires("litert")


def sample() -> TfliteModel:
    """A model with every kind of field: constants, channels, an absent input, options, a name, several outputs."""
    weights = random_int8(1, 4, 1, 1, 3)
    specs = (
        TensorSpec("ein/gäng", (1, 2, 2, 3), "uint8", (0.5,), (128,)),
        tensor((1, 2, 2, 3), 0.5),
        tensor((4, 1, 1, 3), [0.5, 0.25, 0.125, 1.0], data=weights),
        tensor((4,), [0.25, 0.125, 0.0625, 0.5], dtype="int32", data=np.arange(4, dtype=np.int32)),
        tensor((1, 2, 2, 4), 8.0, 5),
        integers(1, 2),
        tensor((1, 4), 8.0, -5),
        tensor((4, 4), 0.5, data=random_int8(1, 4, 4)),
        tensor((1, 4), 64.0),
        TensorSpec("", (), "float32", data=np.array(1.5, np.float32)),
    )
    operators = (
        OperatorSpec("QUANTIZE", 2, (0,), (1,)),
        OperatorSpec(
            "CONV_2D", 3, (1, 2, 3), (4,),
            {"padding": "VALID", "stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1,
             "fused_activation_function": "RELU6"},
        ),
        OperatorSpec("MEAN", 2, (4, 5), (6,), {"keep_dims": False}),
        OperatorSpec("FULLY_CONNECTED", 4, (6, 7, -1), (8,), {"keep_num_dims": False}),
    )  # fmt: skip
    return TfliteModel(specs, operators, (0,), (8, 6), "sample")


def same(a: TfliteModel, b: TfliteModel) -> None:
    assert (a.inputs, a.outputs, a.description, a.subgraph_count) == (
        b.inputs,
        b.outputs,
        b.description,
        b.subgraph_count,
    )
    assert len(a.tensors) == len(b.tensors)
    for left, right in zip(a.tensors, b.tensors, strict=True):
        assert (left.name, left.shape, left.dtype, left.scale, left.zero_point, left.axis) == (
            right.name, right.shape, right.dtype, right.scale, right.zero_point, right.axis,
        )  # fmt: skip
        assert (left.data is None) == (right.data is None)
        if left.data is not None and right.data is not None:
            np.testing.assert_array_equal(left.data, right.data)
    for ours, theirs in zip(a.operators, b.operators, strict=True):
        assert (ours.name, ours.version, ours.inputs, ours.outputs) == (
            theirs.name,
            theirs.version,
            theirs.inputs,
            theirs.outputs,
        )
        assert dict(ours.options).items() <= dict(theirs.options).items()


def test_what_was_written_is_read() -> None:
    same(sample(), read(write(sample())))


def test_writing_what_was_read_gives_the_same_bytes() -> None:
    data = write(sample())
    assert write(read(data)) == data
    one = model(
        "STRIDED_SLICE", [tensor((4,), 0.5), integers(0), integers(3), integers(1)], tensor((3,), 0.5), begin_mask=1
    )
    assert write(read(write(one))) == write(one)


def test_options_carry_their_defaults_and_names() -> None:
    options = dict(read(write(sample())).operators[3].options)
    assert options == {
        "fused_activation_function": "NONE",
        "weights_format": "DEFAULT",
        "keep_num_dims": False,
        "asymmetric_quantize_inputs": False,
        "quantized_bias_type": 0,
    }
    softmax = model("SOFTMAX", [tensor((4,), 0.5)], tensor((4,), 1 / 256, -128), beta=0.5)
    assert read(write(softmax)).operators[0].options == {"beta": 0.5}


def test_constants_are_views_and_read_only() -> None:
    weights = read(write(sample())).tensors[2].data
    assert weights is not None
    assert not weights.flags.writeable


def test_a_path_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(write(sample()))
    same(sample(), read(path))


def test_paths_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendError, match=r"absent\.tflite: cannot be read: No such file"):
        read(tmp_path / "absent.tflite")
    with pytest.raises(BackendError, match="cannot be read: Is a directory"):
        read(tmp_path)
    path = tmp_path / "big.tflite"
    path.write_bytes(write(sample()))
    monkeypatch.setattr(reader, "MAX_BYTES", 100)
    with pytest.raises(BackendError, match=r"big\.tflite: more than 2 GiB"):
        read(path)
    with pytest.raises(BackendError, match="at most 2 GiB"):
        read(path.read_bytes())


def edited(change: Callable[[Any], None], base: TfliteModel | None = None) -> bytes:
    """The file after a change to its object tree, packed by the schema package itself."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    file = schema.ModelT.InitFromObj(schema.Model.GetRootAs(write(base or sample()), 0))
    change(file)
    builder = flatbuffers.Builder(1024)
    builder.Finish(file.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def code(**fields: int) -> Callable[[Any], None]:
    return lambda file: file.operatorCodes[1].__dict__.update(fields)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"builtinCode": 4242}, "UNKNOWN_4242"),
        ({"builtinCode": 32, "deprecatedBuiltinCode": 32}, "CUSTOM"),
        # Files of before 2021 have the old field alone, files of later operators a placeholder in it.
        ({"builtinCode": 0, "deprecatedBuiltinCode": 9}, "FULLY_CONNECTED"),
        ({"builtinCode": 150, "deprecatedBuiltinCode": 127}, "GELU"),
    ],
)
def test_operator_codes(fields: dict[str, int], name: str) -> None:
    assert read(edited(code(**fields))).operators[1].name == name


def test_further_subgraphs_are_counted() -> None:
    assert read(edited(lambda file: file.subgraphs.append(file.subgraphs[0]))).subgraph_count == 2


def test_types_that_numpy_lacks_come_as_bytes() -> None:
    def four_bits(file: Any) -> None:
        file.subgraphs[0].tensors[5].type = 17
        file.buffers[file.subgraphs[0].tensors[5].buffer].data = np.array([0x21], np.uint8)

    spec = read(edited(four_bits)).tensors[5]
    assert spec.dtype == "int4"
    assert spec.data is not None
    assert spec.data.tolist() == [0x21]


def test_data_behind_the_flatbuffer_is_read() -> None:
    plain = edited(lambda file: None)

    def outside(size: int) -> Callable[[Any], None]:
        def change(file: Any) -> None:
            buffer = file.buffers[file.subgraphs[0].tensors[5].buffer]
            buffer.data, buffer.offset, buffer.size = None, 4000, size

        return change

    assert len(plain) < 4000
    padded = edited(outside(8)).ljust(4000, b"\0") + np.array([1, 2], "<i4").tobytes()
    same(read(plain), read(padded))
    with pytest.raises(BackendError, match="beyond the end"):
        read(edited(outside(9)).ljust(4000, b"\0") + bytes(8))


def first_tensor(**fields: Any) -> Callable[[Any], None]:
    return lambda file: file.subgraphs[0].tensors[2].__dict__.update(fields)


def first_operator(**fields: Any) -> Callable[[Any], None]:
    return lambda file: file.subgraphs[0].operators[0].__dict__.update(fields)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda file: file.__dict__.update(version=2), "schema version 2"),
        (lambda file: file.__dict__.update(subgraphs=[]), "without a subgraph"),
        (lambda file: file.subgraphs[0].__dict__.update(inputs=[99]), "tensor index"),
        (lambda file: file.subgraphs[0].__dict__.update(outputs=[-1]), "tensor index"),
        (first_operator(inputs=[-2]), "tensor index"),
        (first_operator(opcodeIndex=50), "operator code that is not there"),
        (first_tensor(buffer=77), "buffer that is not there"),
        (first_tensor(shape=[4, 1, 1, 4]), r"12 bytes for int8\[4, 1, 1, 4\]"),
        (first_tensor(shape=[-4, 1, 1, -3]), "static shapes"),
        (first_tensor(shape=[2**30, 2**30, 2**30, 2**30]), "12 bytes"),
        (first_tensor(shape=[1] * 40), "40 dimensions"),
        (first_tensor(externalBuffer=1), "external buffer"),
        (lambda file: file.subgraphs[0].tensors[2].quantization.__dict__.update(quantizedDimension=3), "4 scales"),
        (lambda file: file.subgraphs[0].tensors[2].quantization.__dict__.update(zeroPoint=[0, 0]), "2 zero points"),
    ],
)
def test_files_that_contradict_themselves_are_refused(change: Callable[[Any], None], why: str) -> None:
    with pytest.raises(BackendError, match=why):
        read(edited(change))


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\0\0\0\0TFL3", b"\xff" * 4 + b"TFL3", b"PK\x03\x04" * 9, bytes(100)])
def test_what_is_no_tflite_file_is_refused(data: bytes) -> None:
    with pytest.raises(BackendError):
        read(data)


def outcome(data: bytes) -> TfliteModel | None:
    """The model, or None for a BackendError; anything else is the test's failure."""
    try:
        return read(data)
    except BackendError:
        return None


def test_every_truncation_is_survived() -> None:
    data = write(sample())
    assert all(outcome(data[:length]) is None for length in range(len(data) // 2))
    for length in range(len(data) // 2, len(data)):
        outcome(data[:length])


BYTES = cache(lambda: write(sample()))


@examples(1200)
@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=8), st.integers(0, 5000))
def test_flipped_bytes_are_survived(flips: list[tuple[int, int]], length: int) -> None:
    data = bytearray(BYTES())
    for position, value in flips:
        data[position % len(data)] = value
    survivor = outcome(bytes(data[: length if length > 8 else len(data)]))
    if survivor is not None:
        assert all(-1 <= index < len(survivor.tensors) for op in survivor.operators for index in op.inputs)


@pytest.mark.parametrize("value", [0, 0xFF])
def test_every_byte_is_flipped(value: int) -> None:
    data = write(sample())
    for position in range(len(data)):
        outcome(data[:position] + bytes([value]) + data[position + 1 :])


def test_a_small_file_cannot_claim_much() -> None:
    # 100,000 tensors that are one tensor with a long name: a file of 0.5 MB for 5 GB of names.
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    builder = flatbuffers.Builder(1 << 20)
    name = builder.CreateString("n" * 50_000)
    schema.TensorStart(builder)
    schema.TensorAddName(builder, name)
    shared = schema.TensorEnd(builder)
    schema.SubGraphStartTensorsVector(builder, 100_000)
    for _ in range(100_000):
        builder.PrependUOffsetTRelative(shared)
    tensors = builder.EndVector()
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    graph = schema.SubGraphEnd(builder)
    schema.ModelStartSubgraphsVector(builder, 1)
    builder.PrependUOffsetTRelative(graph)
    graphs = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, 3)
    schema.ModelAddSubgraphs(builder, graphs)
    builder.Finish(schema.ModelEnd(builder), file_identifier=b"TFL3")
    start = time.monotonic()
    with pytest.raises(BackendError, match="the same bytes too often"):
        read(bytes(builder.Output()))
    assert time.monotonic() - start < 5
