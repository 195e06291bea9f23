"""Counts against torch's own, on the models that the frontend promises, and against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.frontend import load_model, lower
from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import Attention, Const, Conv2d, Input, Linear, MatMul, Relu
from edgevit.ir.types import TensorType
from edgevit.metrics.cost import Cost, graph_cost, macs, mean_bits, op_macs
from edgevit.quant.config import make_config
from tests.tools import requires

EXPECTED = {
    "embedded": (861_818, 61_479_680),
    "timm:vit_tiny_patch16_224": (5_717_416, 1_253_683_200),
    "timm:vit_base_patch16_224": (86_567_656, 17_563_828_224),
    "timm:deit_tiny_patch16_224": (5_717_416, 1_253_683_200),
    "timm:deit_tiny_distilled_patch16_224": (5_910_800, 1_261_003_776),
    "timm:deit_small_patch16_224": (22_050_664, 4_598_882_304),
    "timm:swin_tiny_patch4_window7_224": (28_288_354, 4_490_566_656),
    "timm:pvt_v2_b0": (3_666_760, 566_065_664),
    "timm:poolformer_s12": (11_915_176, 1_812_267_008),
    "timm:resmlp_12_224": (15_350_872, 3_009_739_776),
}
"""Parameters and multiply-accumulates, as torch counts them (a change of timm would show here)."""


def tensor(*shape: int) -> Input:
    return Input(name="x", type=TensorType(shape))


def weight(*shape: int) -> Const:
    return Const(np.zeros(shape, np.float32))


@requires("torch", "timm")
@pytest.mark.parametrize("name", EXPECTED)
def test_a_named_model_costs_what_torch_counts(name: str) -> None:
    """Both are equal, not near: torch counts the same products, and two operations for each. Attention has to be taken
    apart for it, because its counter does not know the fused operator of the CPU.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    loaded = load_model(name)
    assert loaded.module is not None
    height, width = loaded.preprocess.size
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loaded.module.eval()(torch.zeros(1, 3, height, width))
    cost = graph_cost(lower(loaded), loaded.parameters)
    assert cost.parameters == sum(parameter.numel() for parameter in loaded.module.parameters())
    assert 2 * cost.macs == counter.get_total_flops()
    assert (cost.parameters, cost.macs) == EXPECTED[name]
    assert (cost.weight_bits, cost.activation_bits) == (32, 32)


def test_the_reference_is_the_surveys_in_multiply_accumulates() -> None:
    """86.6 M and 17.6 G: additions and multiplications would be 35.1 G."""
    parameters, count = EXPECTED["timm:vit_base_patch16_224"]
    assert round(parameters / 1e6, 1) == 86.6
    assert round(count / 1e9, 1) == 17.6


@requires("torch")
def test_a_shared_parameter_counts_once() -> None:
    import torch

    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = torch.nn.Conv2d(3, 4, 8, 8)
            self.one, self.two = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
            self.two.weight = self.one.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.two(self.one(self.stem(x).flatten(2).mean(-1)))
            return result

    model = Tied()
    assert load_model(model, input_size=(16, 16)).parameters == 4 * 3 * 64 + 4 + 16 + 4 + 4


@pytest.mark.parametrize(
    ("op", "count"),
    [
        (Linear(tensor(1, 5, 3), weight(7, 3), weight(7)), 5 * 3 * 7),
        (Conv2d(tensor(1, 8, 6, 4), weight(10, 3, 3, 4), padding=(1, 1, 1, 1)), 8 * 6 * 10 * 9 * 4),
        (Conv2d(tensor(1, 8, 8, 6), weight(6, 3, 3, 1), stride=(2, 2), groups=6), 3 * 3 * 6 * 9),
        (MatMul(tensor(2, 4, 3), tensor(3, 5)), 2 * 4 * 3 * 5),
        (Attention(tensor(2, 7, 4), tensor(2, 9, 4), tensor(2, 9, 5)), 2 * 7 * 9 * (4 + 5)),
        (Relu(tensor(3, 3)), 0),
    ],
)
def test_products_of_one_op(op: Op, count: int) -> None:
    assert op_macs(op) == count
    assert macs(Graph.of("one", [op])) == count


def test_bits_are_the_mean_over_weights_and_over_results() -> None:
    first = Linear(tensor(1, 2, 3), weight(5, 3), weight(5), loc="first")
    second = Linear(Relu(first), weight(1, 5), loc="second")
    graph = Graph.of("two", [second])
    config = make_config({"weight_bits": 6, "layers": [{"match": "second", "weight_bits": 4, "activation_bits": 2}]})
    assert mean_bits(graph, config) == ((15 * 6 + 5 * 4) / 20, (10 * 8 + 2 * 2) / 12)
    cost = graph_cost(graph, 25, config)
    assert cost.bits == (5.5 + 7) / 2


def test_without_products_the_configuration_holds() -> None:
    graph = Graph.of("none", [Relu(tensor(2))])
    assert mean_bits(graph, make_config({"weight_bits": 4, "activation_bits": 6})) == (4, 6)


def test_figures_have_their_units_and_kinds() -> None:
    cost = Cost(parameters=86_600_000, macs=17_600_000_000, weight_bits=4, activation_bits=8)
    without, with_file = cost.figures(), cost.figures(44_000_000)
    assert {name: (f.value, f.unit, f.kind) for name, f in without.items()} == {
        "params": (86.6, "M", "measured"),
        "flops": (17.6, "GMAC", "measured"),
        "bits": (6, "bit", "measured"),
        "size": (43.3, "MB", "estimated"),
    }
    assert (with_file["size"].value, with_file["size"].kind) == (44, "measured")
