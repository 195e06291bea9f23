"""Every evaluator against torch, or where torch has no such op, against its formula in double precision."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgevit.ir import ops
from edgevit.ir.op import REGISTRY, Op
from edgevit.ir.ops import Binary, Const, Unary
from tests.ir.single import Floats, evaluate, normal
from tests.tools import requires

pytestmark = requires("torch")


def close(ours: Floats, theirs: Any, tolerance: float = 1e-5) -> None:
    """``theirs`` is a torch tensor; the tolerance is relative to the largest number and at least absolute."""
    expected = theirs.detach().numpy()
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance * max(1.0, float(np.abs(expected).max())))


def tensors(*arrays: Floats) -> list[Any]:
    import torch

    return [torch.from_numpy(array) for array in arrays]


def last(x: Any) -> Any:
    """NHWC to NCHW."""
    return x.permute(0, 3, 1, 2)


def first(x: Any) -> Any:
    """NCHW back to (samples, 1, H, W, C)."""
    return x.permute(0, 2, 3, 1)[:, None]


UNARY: dict[str, str] = {name: name for name in ("exp", "log", "sqrt", "rsqrt", "abs", "neg", "sign", "erf")}
UNARY |= {name: name for name in ("sin", "cos", "sigmoid", "tanh", "relu")}
UNARY |= {"silu": "silu", "hard_sigmoid": "hardsigmoid", "hard_swish": "hardswish", "gelu": "gelu"}
BINARY = {"add": "add", "sub": "sub", "mul": "mul", "div": "div", "pow": "pow"}
BINARY |= {"maximum": "maximum", "minimum": "minimum"}


def test_every_elementwise_op_is_compared() -> None:
    unary = {name for name, cls in REGISTRY.items() if issubclass(cls, Unary)}
    assert unary - UNARY.keys() == {"clip", "quantize", "dequantize"}
    assert {name for name, cls in REGISTRY.items() if issubclass(cls, Binary)} == BINARY.keys()


@pytest.mark.parametrize("name", UNARY)
def test_unary_ops(name: str) -> None:
    import torch

    function = getattr(torch, UNARY[name], None) or getattr(torch.nn.functional, UNARY[name])
    x = 3 * normal(3, 4, 50)
    if name in ("log", "sqrt", "rsqrt"):
        x = np.abs(x) + 0.01
    close(evaluate(REGISTRY[name], x), function(*tensors(x)), 2e-6)


@pytest.mark.parametrize("name", BINARY)
def test_binary_ops(name: str) -> None:
    import torch

    a, b = np.abs(normal(3, 4, 5)) + 0.1, normal(3, 4, 5, seed=1)
    close(evaluate(REGISTRY[name], a, b), getattr(torch, BINARY[name])(*tensors(a, b)), 2e-6)


def test_clip_and_tanh_gelu() -> None:
    import torch

    x = 4 * normal(2, 100)
    close(evaluate(lambda v: ops.Clip(v, -1.5, 6.0), x), torch.clamp(*tensors(x), -1.5, 6.0), 0)
    theirs = torch.nn.functional.gelu(*tensors(x), approximate="tanh")
    close(evaluate(lambda v: ops.Gelu(v, "tanh"), x), theirs, 2e-6)


CONVOLUTIONS = [
    # in, out, groups, kernel, stride, dilation, padding (top, bottom, left, right)
    (3, 5, 1, (3, 3), (1, 1), (1, 1), (0, 0, 0, 0)),
    (3, 5, 1, (4, 4), (4, 4), (1, 1), (0, 0, 0, 0)),
    (4, 6, 2, (3, 2), (2, 1), (1, 1), (1, 1, 0, 1)),
    (4, 4, 4, (3, 3), (1, 2), (2, 1), (2, 2, 1, 1)),
    (4, 8, 4, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    (6, 3, 3, (1, 1), (3, 2), (1, 1), (0, 0, 0, 0)),
    (2, 2, 1, (2, 3), (1, 1), (3, 2), (0, 3, 2, 0)),
    (1, 1, 1, (7, 1), (1, 1), (1, 1), (3, 3, 0, 0)),
]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_convolution(case: tuple[Any, ...], bias: bool) -> None:
    import torch

    channels, out, groups, kernel, stride, dilation, padding = case
    x, weight = normal(3, 1, 9, 8, channels), normal(out, *kernel, channels // groups, seed=1)
    shift = normal(out, seed=2)
    ours = evaluate(
        lambda v: ops.Conv2d(v, Const(weight), Const(shift) if bias else None, stride, padding, dilation, groups), x
    )
    image, kernels, offset = tensors(x[:, 0], weight, shift)
    top, bottom, left, right = padding
    padded = torch.nn.functional.pad(last(image), (left, right, top, bottom))
    theirs = torch.nn.functional.conv2d(padded, last(kernels), offset if bias else None, stride, 0, dilation, groups)
    close(ours, first(theirs))


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("count_padding", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [((2, 2), (2, 2)), ((3, 3), (1, 1)), ((3, 2), (2, 3))])
def test_pooling(kernel: tuple[int, int], stride: tuple[int, int], count_padding: bool, padding: int) -> None:
    import torch

    x = normal(3, 1, 7, 8, 4) - 2
    borders = (padding,) * 4
    image = last(*tensors(x[:, 0]))
    mean = evaluate(lambda v: ops.AvgPool2d(v, kernel, stride, borders, count_padding=count_padding), x)
    theirs = torch.nn.functional.avg_pool2d(image, kernel, stride, padding, count_include_pad=count_padding)
    close(mean, first(theirs), 2e-6)
    largest = evaluate(lambda v: ops.MaxPool2d(v, kernel, stride, borders), x)
    close(largest, first(torch.nn.functional.max_pool2d(image, kernel, stride, padding)), 0)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "aligned"])
def test_resizing_to_every_size(mode: str) -> None:
    import torch

    how: dict[str, Any] = {"mode": "nearest" if mode == "nearest" else "bilinear"}
    corners = {} if mode == "nearest" else {"align_corners": mode == "aligned"}
    for height, width in itertools.product((1, 2, 5, 7), (3, 8)):
        x = normal(2, 1, height, width, 2)
        for size in ((1, 1), (2, 6), (3, 8), (10, 5), (14, 16), (15, 23), (49, 41)):
            ours = evaluate(lambda v, size=size: ops.Resize(v, size, **how, **corners), x)
            theirs = torch.nn.functional.interpolate(last(*tensors(x[:, 0])), size, **how, **corners)
            close(ours, first(theirs), 2e-6)


def test_nearest_neighbours_for_all_small_sizes() -> None:
    import torch

    for old, new in itertools.product(range(1, 33), repeat=2):
        x = np.arange(old, dtype=np.float32).reshape(1, 1, 1, old, 1)
        ours = evaluate(lambda v, new=new: ops.Resize(v, (1, new), "nearest"), x)
        theirs = torch.nn.functional.interpolate(last(*tensors(x[:, 0])), (1, new), mode="nearest")
        assert np.array_equal(ours, first(theirs).numpy()), (old, new)


def test_normalizations() -> None:
    import torch

    functional = torch.nn.functional
    x, gamma, beta = 5 * normal(3, 2, 7, 12) + 1, normal(12, seed=1), normal(12, seed=2)
    t, g, b = tensors(x, gamma, beta)
    plain = evaluate(lambda v: ops.LayerNorm(v, eps=1e-3), x)
    close(plain, functional.layer_norm(t, (12,), eps=1e-3))
    close(evaluate(lambda v: ops.LayerNorm(v, Const(gamma), Const(beta)), x), functional.layer_norm(t, (12,), g, b))
    shifted = functional.rms_norm(t, (12,), g, eps=1e-5) + b
    close(evaluate(lambda v: ops.RmsNorm(v, Const(gamma), Const(beta)), x), shifted)
    close(evaluate(ops.L2Normalize, x), functional.normalize(t, dim=-1))
    assert not evaluate(ops.L2Normalize, np.zeros((1, 4), np.float32)).any()
    variance = np.abs(normal(12, seed=3)) + 0.1
    fixed = [Const(array) for array in (gamma, beta, normal(12, seed=4), variance)]
    mean, var = tensors(fixed[2].data, variance)
    theirs = functional.batch_norm(t.reshape(-1, 12), mean, var, g, b).reshape(t.shape)
    close(evaluate(lambda v: ops.BatchNorm(v, *fixed), x), theirs)
    close(evaluate(ops.Softmax, x), torch.softmax(t, -1), 1e-6)
    assert np.isfinite(evaluate(ops.Softmax, np.array([[1e4, -1e4, 0]], np.float32))).all()


@pytest.mark.parametrize(
    ("shape", "groups"), [((1, 12), 3), ((2, 7, 12), 1), ((2, 7, 12), 12), ((1, 4, 5, 12), 3), ((1, 4, 5, 12), 12)]
)
def test_group_norm(shape: tuple[int, ...], groups: int) -> None:
    import torch

    x, gamma, beta = 3 * normal(3, *shape) - 1, normal(12, seed=1), normal(12, seed=2)
    t, g, b = tensors(x.reshape(-1, *shape[1:]), gamma, beta)
    theirs = torch.nn.functional.group_norm(t.movedim(-1, 1), groups, g, b).movedim(1, -1).reshape(x.shape)
    close(evaluate(lambda v: ops.GroupNorm(v, Const(gamma), Const(beta), groups), x), theirs, 2e-5)


@pytest.mark.parametrize("mask_shape", [None, (7, 9), (1, 9), (3, 1, 9), (2, 3, 7, 9)])
def test_attention(mask_shape: tuple[int, ...] | None) -> None:
    import torch

    q, k, v = normal(4, 2, 3, 7, 5), normal(4, 2, 3, 9, 5, seed=1), normal(4, 2, 3, 9, 6, seed=2)
    mask = None if mask_shape is None else 3 * normal(*mask_shape, seed=3)

    def build(*values: Op) -> Op:
        return ops.Attention(*values, None if mask is None else Const(mask), scale=0.3)

    theirs = torch.nn.functional.scaled_dot_product_attention(
        *tensors(q, k, v), attn_mask=None if mask is None else torch.from_numpy(mask), scale=0.3
    )
    close(evaluate(build, q, k, v), theirs)
    if mask is not None:
        computed = np.broadcast_to(mask, (4, *mask.shape)).copy()
        close(evaluate(lambda q, k, v, m: ops.Attention(q, k, v, m, scale=0.3), q, k, v, computed), theirs)


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "reduce_sum": np.sum,
    "reduce_mean": np.mean,
    "reduce_max": np.max,
    "reduce_min": np.min,
}


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(name: str, keepdims: bool) -> None:
    x = normal(3, 2, 4, 5)
    for axes in [(0,), (2,), (0, 1), (2, 0), (0, 1, 2)]:
        ours = evaluate(lambda v, axes=axes: REGISTRY[name](v, axes, keepdims), x)
        theirs = [REDUCTIONS[name](sample.astype(np.float64), axis=axes, keepdims=keepdims) for sample in x]
        np.testing.assert_allclose(ours, np.stack(theirs), rtol=1e-5, atol=1e-5)


def test_layout_ops() -> None:
    x = normal(3, 2, 4, 5)
    np.testing.assert_array_equal(evaluate(lambda v: ops.Reshape(v, (8, 5)), x), x.reshape(3, 8, 5))
    np.testing.assert_array_equal(evaluate(lambda v: ops.Transpose(v, (2, 0, 1)), x), x.transpose(0, 3, 1, 2))
    sliced = evaluate(lambda v: ops.Slice(v, (0, 1, 0), (2, 4, 5), (1, 2, 3)), x)
    np.testing.assert_array_equal(sliced, x[:, 0:2, 1:4:2, 0:5:3])
    padded = evaluate(lambda v: ops.Pad(v, (0, 1, 0), (2, 0, 1), value=-7.0), x)
    np.testing.assert_array_equal(padded, np.pad(x, ((0, 0), (0, 2), (1, 0), (0, 1)), constant_values=-7))
    mirrored = evaluate(lambda v: ops.Pad(v, (0, 3, 0), (0, 0, 2), "reflect"), x)
    np.testing.assert_array_equal(mirrored, np.pad(x, ((0, 0), (0, 0), (3, 0), (0, 2)), "reflect"))
    row = normal(3, 1, 5)
    repeated = evaluate(lambda v: ops.Broadcast(v, (2, 4, 5)), row)
    np.testing.assert_array_equal(repeated, np.broadcast_to(row[:, None], (3, 2, 4, 5)))
