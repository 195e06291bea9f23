from __future__ import annotations

import numpy as np
import pytest

from edgevit.ir.graph import Graph
from edgevit.ir.interp import run
from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Const, Input, L2Normalize, LayerNorm, Linear, Mul, Relu
from edgevit.ir.types import DType, TensorType
from edgevit.ir.verify import verify
from edgevit.passes.base import Reject
from edgevit.quant.arrays import Numbers
from edgevit.quant.calibrate import calibrate
from edgevit.quant.config import LayerOverride, QuantConfig
from edgevit.quant.equalize import Equalize, channel_ranges, find_site, plan_change
from edgevit.quant.grids import GridSpec
from edgevit.quant.quantize import QuantizeGraph
from edgevit.quant.sqnr import compare
from edgevit.quant.walk import as_input, stack_images
from tests.quant.graphs import Floats, constant, linear, pictures, vit

ON = QuantConfig(equalize=True, sequential=False)


def equalized(graph: Graph, images: Numbers, config: QuantConfig = ON) -> Graph:
    result = Equalize(channel_ranges(graph, [images], config), config).run(graph)
    verify(result)
    return result


def outputs(graph: Graph, images: Numbers) -> Numbers:
    return run(graph, [as_input(graph, stack_images(graph, [images]))])[0]


def test_a_vit_is_unchanged_in_real_numbers() -> None:
    graph, images = vit(), pictures(16)
    before, after = outputs(graph, images), outputs(equalized(graph, images), images)
    assert np.abs(before - after).max() < 1e-5 * np.abs(before).max()


def test_channels_get_the_same_range() -> None:
    graph, images = vit(), pictures(64)
    changed = equalized(graph, images)
    again = channel_ranges(changed, [images], ON)
    assert len(again) == 5
    for lo, hi in again.values():
        assert (hi - lo).max() < 1.02 * (hi - lo).min()
        assert np.abs(lo - lo.mean()).max() < 0.02 * (hi - lo).mean()


def test_it_helps_uneven_channels() -> None:
    graph, images = vit(), pictures(64)
    ratios = []
    for candidate in (graph, equalized(graph, images)):
        calibrated = calibrate(candidate, [images], ON)
        rows = compare(candidate, QuantizeGraph(ON).run(calibrated), [images], local=True)
        ratios.append([row.local_db for row in rows if row.loc == "blocks.0.attn.qkv"])
    gains = np.array(ratios[1], float) - np.array(ratios[0], float)
    assert gains.mean() > 0.5


def written_out(*, shift: bool, scalar: bool = False, users: str = "linear") -> Graph:
    """A normalization without affine part, constants that follow it, and two linear layers."""
    rng = np.random.default_rng(0)
    x = Input("x", type=TensorType((1, 5, 8), DType.F32))
    factor = constant(np.sqrt(8)) if scalar else constant(np.exp(rng.normal(size=8)))
    y: Op = Mul(L2Normalize(x, loc="norm"), factor, loc="norm")
    if shift:
        y = Add(constant(rng.normal(size=8) * 3), y, loc="norm")
    first: Op = linear(y, 4, rng, "fc1", bias=False)
    second: Op = linear(y, 4, rng, "fc2") if users == "linear" else Relu(linear(y, 8, rng, "fc2"))
    last = Add(first, second) if users == "linear" else Add(y, second)
    return Graph.of("g", [last] if users == "linear" else [last, first], inputs=[x])


def tokens(count: int = 64) -> Floats:
    channel = np.exp(np.linspace(-1, 1, 8))
    return (np.random.default_rng(3).normal(size=(count, 5, 8)) * channel).astype(np.float32)


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("scalar", [False, True])
def test_an_affine_part_that_was_written_out_is_used(shift: bool, scalar: bool) -> None:
    graph, data = written_out(shift=shift, scalar=scalar), tokens()
    changed = equalized(graph, data)
    np.testing.assert_allclose(outputs(changed, data), outputs(graph, data), rtol=1e-4, atol=2e-5)
    (lo, hi), *_ = channel_ranges(changed, [data], ON).values()
    reach = np.maximum(-lo, hi)
    assert reach.max() < 1.02 * reach.min() if not shift else (hi - lo).max() < 1.02 * (hi - lo).min()


def test_why_a_value_was_left_alone() -> None:
    graph = written_out(shift=True, users="mixed")
    (rejection,) = Equalize({}, ON).why(graph)
    assert rejection.loc == "norm"
    assert "a user is add, not linear" in rejection.reason
    off = Equalize({}, QuantConfig()).why(written_out(shift=True))
    assert [r.reason for r in off] == ["not asked for: equalize = false"]
    x = Input("x", type=TensorType((1, 8), DType.F32))
    folded = Graph.of("g", [linear(LayerNorm(x, loc="n"), 4, np.random.default_rng(0), "fc")])
    (rejection,) = Equalize({}, ON).why(folded)
    assert "folded away" in rejection.reason
    output = LayerNorm(x, constant(np.ones(8)), constant(np.ones(8)))
    site = find_site(Graph.of("g", [output]), output)
    assert isinstance(site, Reject)
    assert "output" in site.reason


def test_only_the_layers_asked_for_change() -> None:
    graph, images = vit(), pictures(4)
    config = QuantConfig(layers=(LayerOverride(match="blocks.0.norm1", equalize=True),))
    changed = equalized(graph, images, config)
    norms = [(a, b) for a, b in zip(graph.ops, changed.ops, strict=True) if isinstance(a, LayerNorm)]
    different = [a.loc for a, b in norms if isinstance(b, LayerNorm) and not _equal(a.gamma, b.gamma)]
    assert different == ["blocks.0.norm1"]


def _equal(a: Op | None, b: Op | None) -> bool:
    return isinstance(a, Const) and isinstance(b, Const) and bool((a.data == b.data).all())


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_change_maps_every_channel_onto_the_common_grid(symmetric: bool) -> None:
    spec = GridSpec(symmetric=symmetric)
    lo, hi = np.array([-1.0, 2.0, -30.0]), np.array([1.0, 3.0, 10.0])
    change = plan_change(lo, hi, spec, shifted=True)
    low, high = (lo + change.shift) / change.ratio, (hi + change.shift) / change.ratio
    np.testing.assert_allclose(low, low[0], rtol=1e-9)
    np.testing.assert_allclose(high, high[0], rtol=1e-9)
    step = (high[0] - low[0]) / (254 if symmetric else 255)
    assert low[0] / step == pytest.approx(round(low[0] / step), abs=1e-9)


def test_dead_channels_are_not_blown_up() -> None:
    change = plan_change(np.array([0.0, -1.0]), np.array([0.0, 1.0]), GridSpec(), shifted=True)
    assert change.ratio[0] > 1 / 300
    nothing = plan_change(np.zeros(2), np.zeros(2), GridSpec(), shifted=True)
    assert (nothing.ratio == 1).all()
    assert (nothing.shift == 0).all()


def test_a_bias_appears_only_where_a_shift_needs_it() -> None:
    data = tokens()
    for shift in (False, True):
        changed = equalized(written_out(shift=shift), data)
        first = next(op for op in changed.ops if isinstance(op, Linear) and op.loc == "fc1")
        assert (first.bias is not None) == shift
