from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from edgevit.errors import PassError, UsageError
from edgevit.ir.graph import Form, Graph
from edgevit.ir.ops import Const, Input, Reshape
from edgevit.ir.text import print_graph
from edgevit.ir.types import TensorType
from edgevit.passes.base import Pass
from edgevit.passes.dead_code import DeadCode
from edgevit.passes.fold_constants import FoldConstants
from edgevit.passes.pipeline import STANDARD, PassRecord, Pipeline, parse_pipeline
from edgevit.passes.raise_gelu import RaiseGelu
from edgevit.passes.registry import make_pass, registry
from tests.passes.helpers import graph_of, names, outputs

CONV = "stride=[1, 1], padding=[0, 0, 0, 0], dilation=[1, 1], groups=1"


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


def block() -> Graph:
    """A patch embedding in NCHW and one attention and MLP block, written out as an exporter might."""
    text = f"""
        %0 = input(name="image") : f32[1,4,4,3]
        %1 = const(data=[0.02, 0.02, 0.02]) : f32[3]
        %2 = const(data=[-2.0, -1.9, -1.8]) : f32[3]
        %3 = mul(lhs=%1, rhs=%0) : f32[1,4,4,3]
        %4 = add(lhs=%3, rhs=%2) : f32[1,4,4,3]
        %5 = transpose(x=%4, perm=[0, 3, 1, 2]) : f32[1,3,4,4]
        %6 = transpose(x=%5, perm=[0, 2, 3, 1]) : f32[1,4,4,3]
        %7 = const(data=@patch) : f32[8,2,2,3]
        %8 = const(data=@one) : f32[8]
        %9 = conv2d(x=%6, weight=%7, bias=%8, {CONV.replace("stride=[1, 1]", "stride=[2, 2]")}) : f32[1,2,2,8]
        %10 = const(data=@variance) : f32[8]
        %11 = batch_norm(x=%9, gamma=%8, beta=%8, mean=%8, var=%10, eps=1e-05) : f32[1,2,2,8]
        %12 = transpose(x=%11, perm=[0, 3, 1, 2]) : f32[1,8,2,2]
        %13 = relu(x=%12) : f32[1,8,2,2]
        %14 = reshape(x=%13, to=[1, 8, 4]) : f32[1,8,4]
        %15 = transpose(x=%14, perm=[0, 2, 1]) : f32[1,4,8]
        %16 = reduce_mean(x=%15, axes=[2], keepdims=true) : f32[1,4,1]
        %17 = sub(lhs=%15, rhs=%16) : f32[1,4,8]
        %18 = const(data=[2.0]) : f32[]
        %19 = pow(lhs=%17, rhs=%18) : f32[1,4,8]
        %20 = reduce_mean(x=%19, axes=[2], keepdims=true) : f32[1,4,1]
        %21 = const(data=[1e-05]) : f32[]
        %22 = add(lhs=%20, rhs=%21) : f32[1,4,1]
        %23 = sqrt(x=%22) : f32[1,4,1]
        %24 = div(lhs=%17, rhs=%23) : f32[1,4,8]
        %25 = mul(lhs=%24, rhs=%8) : f32[1,4,8]
        %26 = add(lhs=%25, rhs=%8) : f32[1,4,8]
        %27 = const(data=@square) : f32[8,8]
        %28 = linear(x=%26, weight=%27, bias=none) : f32[1,4,8]
        %29 = const(data=[0.35]) : f32[]
        %30 = mul(lhs=%28, rhs=%29) : f32[1,4,8]
        %31 = reshape(x=%30, to=[1, 4, 2, 4]) : f32[1,4,2,4]
        %32 = transpose(x=%31, perm=[0, 2, 1, 3]) : f32[1,2,4,4]
        %33 = reshape(x=%26, to=[1, 4, 2, 4]) : f32[1,4,2,4]
        %34 = transpose(x=%33, perm=[0, 2, 1, 3]) : f32[1,2,4,4]
        %35 = transpose(x=%34, perm=[0, 1, 3, 2]) : f32[1,2,4,4]
        %36 = matmul(lhs=%32, rhs=%35) : f32[1,2,4,4]
        %37 = softmax(x=%36) : f32[1,2,4,4]
        %38 = matmul(lhs=%37, rhs=%34) : f32[1,2,4,4]
        %39 = transpose(x=%38, perm=[0, 2, 1, 3]) : f32[1,4,2,4]
        %40 = reshape(x=%39, to=[1, 4, 8]) : f32[1,4,8]
        %41 = add(lhs=%15, rhs=%40) : f32[1,4,8]
        %42 = linear(x=%41, weight=%27, bias=%8) : f32[1,4,8]
        %43 = const(data=[1.4142135623730951]) : f32[]
        %44 = div(lhs=%42, rhs=%43) : f32[1,4,8]
        %45 = erf(x=%44) : f32[1,4,8]
        %46 = const(data=[1.0]) : f32[]
        %47 = add(lhs=%46, rhs=%45) : f32[1,4,8]
        %48 = const(data=[0.5]) : f32[]
        %49 = mul(lhs=%48, rhs=%42) : f32[1,4,8]
        %50 = mul(lhs=%49, rhs=%47) : f32[1,4,8]
        return %50
    """
    variance = np.abs(random(2, 4)).reshape(8) + np.float32(0.5)
    return graph_of(text, patch=random(8, 2, 2, 3), one=random(8), variance=variance, square=random(8, 8))


def test_standard_pipeline_cleans_a_block_up() -> None:
    graph = block()
    result = STANDARD.run(graph).graph
    assert names(result) == [
        *("conv2d", "relu", "reshape", "layer_norm", "linear"),
        *("reshape", "transpose", "reshape", "transpose", "attention", "transpose", "reshape"),
        *("add", "linear", "gelu"),
    ]
    for was, now in zip(outputs(graph), outputs(result), strict=True):
        np.testing.assert_allclose(now, was, rtol=0, atol=1e-5 * float(np.abs(was).max()))
    assert print_graph(STANDARD.run(result).graph) == print_graph(result)


def test_records_tell_what_each_pass_did() -> None:
    graph = block()
    seen: list[tuple[PassRecord, Graph]] = []
    pipeline = parse_pipeline("raise-gelu,fold-batch-norm,dead-code")
    result = pipeline.run(graph, on_pass=lambda record, after: seen.append((record, after)), explain=True)
    assert tuple(record for record, _ in seen) == result.records
    assert seen[-1][1] is result.graph
    assert [(r.name, r.ops_before, r.ops_after) for r in result.records] == [
        ("raise-gelu", 39, 35),
        ("fold-batch-norm", 35, 34),
        ("dead-code", 34, 34),
    ]
    assert all(record.seconds > 0 for record in result.records)
    assert pipeline.run(graph).records[0].rejections == ()


def test_stop_after_runs_no_further() -> None:
    result = STANDARD.run(block(), stop_after="canonicalize-views")
    assert [record.name for record in result.records][-2:] == ["sink-transposes", "canonicalize-views"]
    with pytest.raises(UsageError, match="has no pass 'canonicalise-views'\nhint: did you mean 'canonicalize-views'"):
        STANDARD.run(block(), stop_after="canonicalise-views")


def test_a_spec_is_read_and_written_back() -> None:
    pipeline = parse_pipeline(" fold-constants{max_elements=10} , raise-gelu{tolerance=0.001},dead-code ")
    assert pipeline.passes == (FoldConstants(max_elements=10), RaiseGelu(tolerance=0.001), DeadCode())
    assert pipeline.spec() == "fold-constants{max_elements=10},raise-gelu{tolerance=0.001},dead-code"
    assert parse_pipeline(STANDARD.spec()) == STANDARD


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fold-constant", "there is no pass 'fold-constant'\nhint: did you mean 'fold-constants'?"),
        ("zzz", "there is no pass 'zzz'\nhint: one of canonicalize-views, "),
        ("", "cannot read the pipeline"),
        ("dead-code,,dead-code", "cannot read the pipeline"),
        ("dead-code,", "ends with a comma"),
        ("dead-code{", "cannot read the pipeline"),
        ("dead-code{x=1}", "pass dead-code has no option 'x'\nhint: it has no options"),
        ("fold-constants{max_element=1}", "no option 'max_element'\nhint: did you mean 'max_elements'?"),
        ("fold-constants{max_elements}", "option 'max_elements' has no value"),
        ("fold-constants{max_elements=1,max_elements=2}", "option 'max_elements' stands twice"),
        ("fold-constants{max_elements=few}", "'few' is not of type int"),
    ],
)
def test_a_wrong_spec_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_pipeline(text)
    assert message in str(caught.value)


def test_the_registry_knows_every_pass_by_its_name() -> None:
    assert {"fold-scales", "sink-transposes", "raise-attention"} <= set(registry())
    for name, cls in registry().items():
        assert name == cls.NAME
        assert cls.__doc__
    assert make_pass("dead-code", {}) == DeadCode()


@dataclass(frozen=True)
class Broken(Pass):
    """Gives the graph that ``how`` asks for."""

    NAME: ClassVar[str] = "broken"
    how: str = "shape"

    def run(self, graph: Graph) -> Graph:
        if self.how == "form":
            return graph.with_form(Form.CALIBRATED)
        if self.how == "output":
            return replace(graph, outputs=graph.ops[:1])
        bad = Reshape(graph.inputs[0], (3, 3), type=TensorType((3, 3)), loc="blocks.0")
        return Graph.of(graph.name, [bad], inputs=graph.inputs)


def test_a_pass_that_breaks_an_invariant_is_named_and_the_line_is_marked() -> None:
    x = Input("x", type=TensorType((2, 2)))
    graph = Graph.of("g", [Reshape(x, (4,))], inputs=[x])
    with pytest.raises(PassError) as caught:
        Pipeline((DeadCode(), Broken())).run(graph)
    line = '%1 = reshape(x=%0, to=[3, 3]) : f32[3,3] loc "blocks.0"'
    assert str(caught.value).splitlines()[0].startswith("pass broken: blocks.0: reshape: ")
    assert "[2, 2] has 4 elements, [3, 3] has 9" in str(caught.value)
    assert str(caught.value).splitlines()[1:3] == [f"  {line}", f"  {'~' * len(line)}"]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("form", "pass broken{how=form}: reshape: has no range"),
        ("output", "pass broken{how=output}: it changed the interface of the graph from (x[2, 2]) -> ([4]) to "),
    ],
)
def test_a_pass_that_breaks_its_contract_is_named(how: str, message: str) -> None:
    x = Input("x", type=TensorType((2, 2), range=(0.0, 1.0)))
    graph = Graph.of("g", [Reshape(x, (4,))], inputs=[x])
    with pytest.raises(PassError) as caught:
        Pipeline((Broken(how),)).run(graph)
    assert str(caught.value).startswith(message)


def test_a_pass_that_leaves_another_form_is_named() -> None:
    constant = Const(np.zeros(2, np.float32))
    graph = Graph.of("g", [constant])
    with pytest.raises(PassError, match=r"pass broken\{how=form\}: it left the form calibrated behind, not float"):
        Pipeline((Broken("form"),)).run(graph)


def test_a_pass_refuses_a_form_that_it_cannot_take() -> None:
    x = Input("x", type=TensorType((2, 2), range=(0.0, 1.0)))
    graph = Graph.of("g", [x], inputs=[x], form=Form.CALIBRATED)
    with pytest.raises(PassError, match="pass fold-scales: it needs the form float, the graph is calibrated"):
        parse_pipeline("fold-scales").run(graph)
