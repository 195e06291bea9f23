"""The prediction for a whole model: the partition, the memory, what rejects it, the fixes and the JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgevit_coral import limits
from edgevit_coral.mapping import predict
from edgevit_coral.model import OperatorSpec, TfliteModel
from edgevit_coral.reader import read
from edgevit_coral.writer import write
from tests.coral.mapping_models import Net, attention, chain, colour_classifier, fully_connected
from tests.tools import requires


def test_attention_of_a_compiled_model_is_mapped_without_reservation() -> None:
    mapping = predict(attention())
    assert [op.status for op in mapping.ops] == [limits.MAPPED] * 3
    assert [op.notes for op in mapping.ops] == [(), (), ()]
    assert {op.evidence for op in mapping.ops} == {"artifact"}
    assert str(mapping.summary) == "3 of 3 ops mapped to the Edge TPU (100.0 %), 1 Edge TPU subgraph"


def test_what_depends_on_an_unmapped_op_goes_to_the_cpu_and_what_does_not_stays() -> None:
    net = Net()
    source = net.activation(4, 8)
    left = net.op("TANH", 1, (source,), net.activation(4, 8))
    gathered = net.op("GATHER", 1, (source, net.integers([0, 1, 2, 3])), net.activation(4, 8))
    after = net.op("LOGISTIC", 1, (gathered,), net.activation(4, 8))
    aside = net.op("RELU", 1, (left,), net.activation(4, 8))
    total = net.op("ADD", 2, (after, aside), net.activation(4, 8))
    mapping = predict(net.model((source,), total))
    assert [op.mapped for op in mapping.ops] == [True, False, False, True, False]
    assert [op.status for op in mapping.ops[2:]] == [limits.ONE_SUBGRAPH, limits.MAPPED, limits.ONE_SUBGRAPH]
    assert mapping.ops[4].blocked_by == 1
    assert "depends on GATHER (op 1)" in mapping.ops[4].why


def test_float_input_and_output_stay_on_the_cpu_and_strand_nothing() -> None:
    net = Net()
    source = net.activation(4, 8, dtype="float32", name="image")
    quantized = net.op("QUANTIZE", 1, (source,), net.activation(4, 8))
    hidden = fully_connected(net, quantized, 8)
    result = net.op("DEQUANTIZE", 2, (hidden,), net.activation(4, 8, dtype="float32", name="scores"))
    mapping = predict(net.model((source,), result))
    assert [op.status for op in mapping.ops] == [limits.UNSPECIFIED, limits.MAPPED, limits.DATA_TYPE]
    assert mapping.float_tensors == ("image", "scores")
    assert all("--io uint8" in mapping.ops[i].remedy for i in (0, 2))
    assert any("2 float tensors" in warning for warning in mapping.warnings)


def test_the_runtime_version_is_that_of_the_most_demanding_mapped_op() -> None:
    assert predict(chain([("TANH", 1)])).min_runtime_version is None
    assert predict(chain([("SUM", 2), ("EXPAND_DIMS", 1)])).min_runtime_version == 13
    assert predict(chain([("SUM", 2), ("RSQRT", 2)])).min_runtime_version == 14
    assert predict(chain([("GATHER", 1), ("TANH", 1), ("GATHER", 1), ("RSQRT", 2)])).min_runtime_version is None


def test_parameters_beyond_the_cache_are_streamed_in_execution_order() -> None:
    layer = 1024 * 1024 + 4 * 1024
    mapping = predict(chain([("FULLY_CONNECTED", 4)] * 10, rows=1, width=1024))
    fitting = limits.ON_CHIP_BYTES // layer
    assert mapping.memory.parameter_bytes == 10 * layer
    assert mapping.memory.on_chip_bytes == fitting * layer
    assert mapping.memory.streamed_bytes == (10 - fitting) * layer
    assert mapping.memory.streamed_ops == tuple(range(fitting, 10))
    assert mapping.ops[0].parameter_bytes == layer
    assert any("streamed at every inference" in warning for warning in mapping.warnings)


def test_shared_weights_are_counted_once_and_ops_on_the_cpu_not_at_all() -> None:
    net = Net()
    source, weights = net.activation(1, 64), net.constant(np.ones((64, 64), np.int8))
    current = source
    for _ in range(3):
        current = net.op("FULLY_CONNECTED", 4, (current, weights, -1), net.activation(1, 64))
    current = net.op("GATHER", 1, (current, net.integers([0])), net.activation(1, 64))
    model = net.model((source,), fully_connected(net, current, 64))
    assert predict(model).memory.parameter_bytes == 64 * 64


def test_large_activations_are_named() -> None:
    net = Net()
    source = net.activation(1, 512, 512, 32, name="stem")
    mapping = predict(net.model((source,), net.op("RELU", 1, (source,), net.activation(1, 512, 512, 32))))
    assert mapping.memory.largest_activation == "stem"
    assert mapping.memory.largest_activation_bytes == 512 * 512 * 32
    assert mapping.memory.peak_activation_bytes == 2 * 512 * 512 * 32
    assert any("large activation tensors" in warning and "'stem'" in warning for warning in mapping.warnings)


def test_peak_counts_what_a_residual_connection_keeps_alive() -> None:
    net = Net()
    source = net.activation(1, 100)
    hidden = net.op("TANH", 1, (source,), net.activation(1, 100))
    hidden = net.op("RELU", 1, (hidden,), net.activation(1, 100))
    model = net.model((source,), net.op("ADD", 2, (hidden, source), net.activation(1, 100)))
    assert predict(model).memory.peak_activation_bytes == 300


def test_an_early_output_is_kept_until_the_end() -> None:
    net = Net()
    source = net.activation(1, 100)
    first = net.op("TANH", 1, (source,), net.activation(1, 100))
    second = net.op("RELU", 1, (source,), net.activation(1, 10))
    last = net.op("RELU", 1, (second,), net.activation(1, 400))
    assert predict(net.model((source,), first, last)).memory.peak_activation_bytes == 100 + 10 + 400
    assert predict(net.model((source,), last)).memory.peak_activation_bytes == 10 + 400


@requires("litert")
def test_a_model_read_back_from_its_file_is_judged_alike(tmp_path: Path) -> None:
    model = colour_classifier()
    path = tmp_path / "model.tflite"
    path.write_bytes(write(model))
    mapping = predict(read(path))
    assert mapping.summary == predict(model).summary
    assert mapping.memory == predict(model).memory


def test_fixes_are_ranked_by_what_they_free_one_after_the_other() -> None:
    names = [("TANH", 1), ("GATHER", 1), *[("RELU", 1)] * 5, ("CAST", 1), *[("RELU", 1)] * 9]
    fixes = predict(chain(names)).fixes()
    assert [(fix.operator, fix.ops, fix.ops_freed) for fix in fixes] == [("GATHER", (1,), 6), ("CAST", (7,), 10)]
    assert limits.NEVER_MAPPED["GATHER"] in str(fixes[0])


def test_one_fix_covers_every_op_of_its_kind_and_the_limit_holds() -> None:
    names = [("FULLY_CONNECTED", 5), ("GATHER", 1), ("FULLY_CONNECTED", 5), ("CAST", 1), ("NEG", 1)]
    mapping = predict(chain(names))
    assert len(mapping.fixes(limit=2)) == 2
    assert mapping.fixes(limit=9)[0].ops == (0, 2)
    assert sum(fix.ops_freed for fix in mapping.fixes(limit=9)) == 5


def test_what_rejects_the_model_is_fixed_first() -> None:
    fixes = predict(chain([("CAST", 1), *[("RELU", 1)] * 4, ("GELU", 1), ("LOGISTIC", 9)])).fixes()
    assert [fix.operator for fix in fixes] == ["GELU", "LOGISTIC", "CAST"]
    assert [fix.ops_freed for fix in fixes] == [0, 6, 1]


def test_a_fully_mapped_model_needs_no_fix() -> None:
    assert predict(attention()).fixes() == ()


def test_a_model_without_operators() -> None:
    mapping = predict(TfliteModel((), (), (), ()))
    assert (mapping.summary.fraction, mapping.subgraphs) == (0.0, 0)
    assert mapping.memory.peak_activation_bytes == 0


def test_the_percentage_never_rounds_up_to_all() -> None:
    text = str(predict(chain([*[("RELU", 1)] * 2999, ("CAST", 1)])).summary)
    assert text.startswith("2999 of 3000 ops mapped to the Edge TPU (99.9 %)")


def test_more_than_one_subgraph_in_the_file_is_reported() -> None:
    plain = attention()
    model = TfliteModel(plain.tensors, plain.operators, plain.inputs, plain.outputs, subgraph_count=2)
    assert any("2 subgraphs" in warning for warning in predict(model).warnings)


def test_json_holds_the_whole_prediction() -> None:
    mapping = predict(chain([("TANH", 1), ("GATHER", 1), ("RELU", 1)]))
    data = json.loads(json.dumps(mapping.to_json()))
    assert data["summary"]["mapped"] == 1
    assert data["fixes"][0]["ops_freed"] == 2
    assert [op["status"] for op in data["ops"]] == [op.status for op in mapping.ops]
    assert data["ops"][1]["problems"][0]["remedy"] == limits.NEVER_MAPPED["GATHER"]
    assert data["ops"][2]["loc"] == "layer2"
    assert set(mapping.counts().items()) == {((op.operator, op.status), 1) for op in mapping.ops}


@given(st.lists(st.tuples(st.sampled_from(["RELU", "CAST", "ADD"]), st.integers(0, 5), st.integers(0, 5)), max_size=25))
def test_the_partition_is_closed_under_dependence(recipe: list[tuple[str, int, int]]) -> None:
    """No mapped op reads from an unmapped one, but for a leading run on the CPU; fixing everything maps everything."""
    net = Net()
    values = [net.activation(1, 8)]
    for name, first, second in recipe:
        picked = [values[-1 - first % len(values)], values[-1 - second % len(values)]]
        inputs = picked if name == "ADD" else picked[:1]
        values.append(net.op(name, 1, inputs, net.activation(1, 8)))
    mapping = predict(net.model((values[0],), values[-1]))
    producer = {op.outputs[0]: index for index, op in enumerate(net.operators)}

    def leading(index: int) -> bool:
        inputs = _producers(net.operators[index], producer)
        return net.operators[index].name == "CAST" and all(leading(i) for i in inputs)

    for op in mapping.ops:
        inputs = _producers(net.operators[op.index], producer)
        if op.mapped:
            first_on_cpu = not mapping.ops[0].mapped
            assert all(mapping.ops[i].mapped or (first_on_cpu and leading(i)) for i in inputs)
        elif op.status == limits.ONE_SUBGRAPH:
            assert not mapping.ops[op.blocked_by].mapped
            assert mapping.ops[op.blocked_by].operator == "CAST"
    assert mapping.summary.mapped + sum(fix.ops_freed for fix in mapping.fixes(limit=99)) == len(recipe)


def _producers(op: OperatorSpec, producer: dict[int, int]) -> list[int]:
    return [producer[t] for t in op.inputs if t in producer]
