"""The walk over the graph: what it keeps, shares, skips, and how it tells everything that it cannot lower."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevit.errors import FrontendError
from edgevit.frontend import lower
from edgevit.frontend.lowering import lower_program
from edgevit.frontend.registry import LOWERINGS, axes_of, lowers, pair
from edgevit.ir.ops import Attention, Const, Conv2d, L2Normalize, Linear, Relu, Softmax
from edgevit.ir.text import print_graph
from tests.frontend.compare import PREPROCESS, SIZE, assert_same, decomposed_of, export
from tests.tools import requires

FEW = settings(max_examples=12, deadline=None)
torch_test = requires("torch")


def build(forward: Callable[[Any, Any], Any], **parts: Any) -> Any:
    """A module with ``parts`` as attributes whose forward is ``forward(self, image)``, flattened to (1, n)."""
    import torch

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, part in parts.items():
                setattr(self, name, part)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return forward(self, x).reshape(1, -1)

    return Model()


def lowered(model: Any) -> Any:
    return lower_program(export(model), PREPROCESS, "model")


@torch_test
def test_module_paths_are_those_of_the_model() -> None:
    from torch import nn

    block = nn.Sequential()
    block.add_module("proj", nn.Linear(8, 8))
    block.add_module("act", nn.ReLU())
    graph = lowered(nn.Sequential(nn.ModuleList([block, block])[0], nn.Flatten()))
    assert [op.loc for op in graph.ops if isinstance(op, (Linear, Relu))] == ["0.proj", "0.act"]


@torch_test
def test_shared_module_keeps_one_weight() -> None:
    import torch

    layer = torch.nn.Linear(8, 8)
    graph = lowered(build(lambda self, x: self.layer(self.layer(x)), layer=layer))
    linears = [op for op in graph.ops if isinstance(op, Linear)]
    assert len(linears) == 2
    assert linears[0].weight is linears[1].weight
    assert [op.loc for op in linears] == ["layer", "layer"]
    assert linears[0].weight.loc == "layer.weight"


@torch_test
def test_graph_does_not_follow_the_module() -> None:
    import torch

    layer = torch.nn.Linear(8, 2)
    graph = lowered(build(lambda self, x: self.layer(x), layer=layer))
    (weight,) = (op.weight for op in graph.ops if isinstance(op, Linear))
    before = weight.data.copy()
    with torch.no_grad():
        layer.weight.zero_()
    np.testing.assert_array_equal(weight.data, before)


@torch_test
def test_constant_subgraph_becomes_one_constant() -> None:
    import torch

    table = torch.nn.Parameter(torch.randn(4, 8))
    index = torch.tensor([3, 0, 0, 1, 2, 2, 1, 3])
    model = build(lambda self, x: x + self.table[index].mul(2).t().contiguous(), table=table)
    names = [op.NAME for op in lowered(model).ops]
    assert names.count("add") == 2
    assert "gather" not in names
    assert_same(lowered(model), model)


@torch_test
def test_lowering_twice_gives_the_same_text() -> None:
    import torch

    torch.manual_seed(0)
    model = build(lambda self, x: self.conv(x).relu().softmax(1), conv=torch.nn.Conv2d(3, 4, 3))
    assert print_graph(lowered(model)) == print_graph(lowered(model))


@torch_test
def test_unknown_operators_are_all_reported() -> None:
    import torch

    class Sorts(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.sort(-1)[0]

    class Accumulates(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.cumsum(-1) + x.cumsum(-2) + torch.nn.functional.interpolate(x, size=SIZE, mode="bicubic") * 0

    model = torch.nn.Sequential(Sorts(), Accumulates(), torch.nn.Sequential(Sorts()), torch.nn.Flatten())
    with pytest.raises(FrontendError) as caught:
        lowered(model)
    text = str(caught.value)
    assert "2 operators have no lowering" in text
    assert "aten.sort.default, 2 times, in 0, 2.0" in text
    assert "aten.cumsum.default, 2 times, in 1" in text
    assert caught.value.exit_code == 3
    assert "hint:" in text


@torch_test
def test_arguments_without_lowering_are_reported_with_the_unknown_operators() -> None:
    model = build(lambda self, x: x.sort(-1)[0].norm(3, dim=-1) + x.long().sum(-1))
    with pytest.raises(FrontendError) as caught:
        lowered(model)
    for part in ("a vector norm of order 3", "aten.sort.default", "a cast of an activation to torch.int64"):
        assert part in str(caught.value)


@torch_test
def test_dead_unknown_operator_does_no_harm() -> None:
    import torch

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        x.sort(-1)
        return x * 2

    assert_same(lowered(build(forward)), build(forward))


@torch_test
def test_random_numbers_are_refused() -> None:
    import torch

    with pytest.raises(FrontendError, match="a random number"):
        lowered(build(lambda self, x: x + torch.rand(8)))


@torch_test
def test_huge_constant_is_refused_before_it_is_made() -> None:
    import torch

    with pytest.raises(FrontendError, match="a constant of 1099511627776 elements"):
        lowered(build(lambda self, x: x + torch.zeros(2**20, 2**20).sum()))


@torch_test
def test_constant_logits_are_refused() -> None:
    import torch

    with pytest.raises(FrontendError, match="do not depend on the image"):
        lowered(build(lambda self, x: torch.ones(1, 4)))


@torch_test
def test_training_mode_program_is_refused() -> None:
    import torch

    model = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Dropout(), torch.nn.Flatten()).train()
    program = torch.export.export(model, (torch.zeros(1, 3, *SIZE),))
    with pytest.raises(FrontendError) as caught:
        lower(program)
    assert "call model.eval()" in str(caught.value)


@torch_test
def test_inplace_write_to_a_shared_value_is_respected() -> None:
    import torch

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        z = y[:, 1:]
        y.add_(1)
        return torch.cat([y, z], 1)

    assert_same(lowered(build(forward)), build(forward))


@torch_test
def test_inplace_activation_leaves_the_program_as_captured() -> None:
    import torch

    model = build(
        lambda self, x: self.act(self.conv(x)), act=torch.nn.ReLU(inplace=True), conv=torch.nn.Conv2d(3, 4, 3)
    )
    graph = lowered(model)
    assert [op.loc for op in graph.ops if isinstance(op, (Conv2d, Relu))] == ["conv", "act"]
    assert_same(graph, model)


@torch_test
def test_decomposed_attention_loses_its_guard() -> None:
    import torch

    model = build(lambda self, x: torch.nn.functional.scaled_dot_product_attention(x, x, x))
    program = export(model)
    assert any(isinstance(op, Attention) for op in lower_program(program, PREPROCESS, "captured").ops)
    graph = lower_program(decomposed_of(program), PREPROCESS, "decomposed")
    assert sum(isinstance(op, Softmax) for op in graph.ops) == 1
    assert_same(graph, model)


@torch_test
def test_where_on_pixels_is_not_taken_for_that_guard() -> None:
    import torch

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.where((x == 1).logical_not().any(-1, True).logical_not(), torch.zeros(1), x.softmax(-1))

    with pytest.raises(FrontendError, match=r"aten\.eq\.Scalar"):
        lowered(build(forward))


@torch_test
def test_normalize_is_raised_only_on_the_last_axis() -> None:
    import torch

    normalize = torch.nn.functional.normalize
    for dim, raised in ((-1, True), (1, False)):
        model = build(lambda self, x, dim=dim: normalize(x, dim=dim))
        assert any(isinstance(op, L2Normalize) for op in lowered(model).ops) is raised
        assert_same(lowered(model), model)


@torch_test
def test_view_of_memory_is_taken_only_for_a_vector() -> None:
    model = build(lambda self, x: x.mean((2, 3)).as_strided((1, 3, 1, 1), (3, 1, 1, 1)))
    assert_same(lowered(model), model)
    with pytest.raises(FrontendError, match=r"a view of \[1, 3, 8, 8\] with strides"):
        lowered(build(lambda self, x: x.as_strided((1, 3, 8, 4), (192, 64, 8, 2))))


@torch_test
def test_masks_become_finite() -> None:
    import torch

    mask = torch.full((8, 8), -torch.inf).triu(1)
    model = build(lambda self, x: (x + mask).softmax(-1))
    graph = lowered(model)
    assert all(np.isfinite(op.data).all() for op in graph.ops if isinstance(op, Const))
    assert_same(graph, model)


def test_a_second_lowering_of_an_operator_is_refused() -> None:
    import edgevit.frontend.lowering  # noqa: F401

    before = LOWERINGS["aten.relu.default"]
    with pytest.raises(ValueError, match=r"two lowerings for aten\.relu\.default"):
        lowers("relu.default")(lambda node, x: x)
    assert LOWERINGS["aten.relu.default"] is before


def test_axes_and_pairs() -> None:
    assert axes_of((-1, 0), 3) == (0, 2)
    assert axes_of(None, 2) == axes_of([], 2) == (0, 1)
    assert pair(3) == pair([3]) == (3, 3)
    assert pair((1, 2)) == (1, 2)


@torch_test
@FEW
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 3),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 3]),
)
def test_any_convolution(
    kernel: tuple[int, int], stride: int, padding: tuple[int, int], dilation: int, groups: int
) -> None:
    import torch

    conv = torch.nn.Conv2d(3, 6, kernel, stride, padding, dilation, groups)
    model = torch.nn.Sequential(conv, torch.nn.Flatten())
    assert_same(lowered(model), model)


@torch_test
@FEW
@given(
    kernel=st.integers(2, 4),
    stride=st.integers(1, 4),
    padding=st.integers(0, 1),
    ceil_mode=st.booleans(),
    average=st.booleans(),
)
def test_any_pooling(kernel: int, stride: int, padding: int, ceil_mode: bool, average: bool) -> None:
    import torch

    if average:
        pool = torch.nn.AvgPool2d(kernel, stride, padding, ceil_mode, count_include_pad=False)
    else:
        pool = torch.nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil_mode)
    model = torch.nn.Sequential(pool, torch.nn.Flatten())
    assert_same(lowered(model), model)


@torch_test
@FEW
@given(start=st.integers(-9, 7), length=st.integers(1, 8), step=st.integers(1, 3), axis=st.sampled_from([2, 3, -1]))
def test_any_slice(start: int, length: int, step: int, axis: int) -> None:
    import torch

    stop = start + length if start + length != 0 or start >= 0 else None
    if len(range(*slice(start, stop, step).indices(8))) == 0:
        return
    index = torch.arange(8)[start:stop:step]
    model = build(lambda self, x: torch.ops.aten.slice.Tensor(x, axis, start, stop, step) * (index.numel() + 1))
    assert_same(lowered(model), model)


@torch_test
@FEW
@given(
    left=st.permutations("bcde"),
    right=st.permutations("bcfg"),
    output=st.permutations("bcdefg").flatmap(lambda labels: st.integers(1, 6).map(lambda n: "".join(labels[:n]))),
)
def test_any_einsum(left: list[str], right: list[str], output: str) -> None:
    import torch

    sizes = {"b": 2, "c": 4, "d": 3, "e": 8, "f": 3, "g": 2}
    equation = f"{''.join(left)},{''.join(right)}->{output}"
    other = torch.randn([sizes[label] for label in right], generator=torch.Generator().manual_seed(1))
    shape = [sizes[label] for label in left]
    model = build(lambda self, x: torch.einsum(equation, x.reshape(shape), other))
    assert_same(lowered(model), model)
