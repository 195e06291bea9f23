"""Each torch operator that has a lowering, in a tiny model, as it is captured and as torch decomposes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edgevit.frontend import lower
from edgevit.frontend.lowering import lower_program
from tests.frontend.compare import PREPROCESS, assert_same, decomposed_of, export, perturb
from tests.tools import requires

pytestmark = requires("torch")

# Each function gets torch, torch.nn.functional and an image (1, 3, 8, 8).
FUNCTIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "abs": lambda t, f, x: x.abs(),
    "adaptive_pool_even": lambda t, f, x: f.adaptive_avg_pool2d(x, (4, 2)),
    "adaptive_pool_one": lambda t, f, x: f.adaptive_avg_pool2d(x, 1),
    "adaptive_pool_uneven": lambda t, f, x: f.adaptive_avg_pool2d(x, (3, 5)),
    "add_alpha": lambda t, f, x: t.add(x, x.flip(3), alpha=0.5),
    "addcmul": lambda t, f, x: t.addcmul(x, x.sin(), x, value=0.3),
    "amax_amin": lambda t, f, x: x.amax(1) - x.amin(1),
    "arange_constant": lambda t, f, x: x * t.arange(8, dtype=t.float32),
    "attention": lambda t, f, x: f.scaled_dot_product_attention(x, x.flip(2), x),
    "attention_boolean_mask": lambda t, f, x: f.scaled_dot_product_attention(x, x, x, t.ones(8, 8).tril().bool()),
    "attention_causal": lambda t, f, x: f.scaled_dot_product_attention(x, x, x, is_causal=True),
    "attention_float_mask": lambda t, f, x: f.scaled_dot_product_attention(x, x, x, t.eye(8), scale=0.7),
    "avg_pool": lambda t, f, x: f.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "avg_pool_ceil": lambda t, f, x: f.avg_pool2d(x, 3, 2, 0, ceil_mode=True, count_include_pad=False),
    "avg_pool_counted": lambda t, f, x: f.avg_pool2d(x, 3, 1, 1),
    "baddbmm": lambda t, f, x: t.baddbmm(x[0], x[0], x[0], beta=0.5, alpha=2),
    "bmm": lambda t, f, x: t.bmm(x[0], x[0].transpose(1, 2)),
    "broadcast_to": lambda t, f, x: x.mean(3, keepdim=True).broadcast_to(1, 3, 8, 4),
    "cat": lambda t, f, x: t.cat([x, x[:, :1], t.ones(1, 1, 8, 8)], 1),
    "chunk": lambda t, f, x: t.stack([c.sum() for c in x.chunk(3, -1)]),
    "clamp": lambda t, f, x: x.clamp(-1, 0.5) + x.clamp(min=0.2) + x.clamp(max=0.1),
    "comparison_of_constants": lambda t, f, x: x * (t.arange(8) > 3),
    "div": lambda t, f, x: x / 3 + x / (x.abs() + 1) + x / t.full((8,), 4.0),
    "einsum_batch": lambda t, f, x: t.einsum("bchw,bcwk->bchk", x, x),
    "einsum_outer": lambda t, f, x: t.einsum("bchw,k->bkhw", x, t.arange(3.0)),
    "einsum_three": lambda t, f, x: t.einsum("bchw,bcwk,kz->bzh", x, x, t.ones(8, 2)),
    "elu": lambda t, f, x: f.elu(x, 0.7),
    "exp_log": lambda t, f, x: x.exp().log() + (x * x + 1).log(),
    "expand": lambda t, f, x: x[:, :1].expand(-1, 5, -1, -1) + x[:, 1:2].expand_as(x[:, :1].expand(1, 5, 8, 8)),
    "flatten_unflatten": lambda t, f, x: x.flatten(2).unflatten(2, (4, 16)).transpose(1, 2),
    "windows": lambda t, f, x: f.unfold(x, 2, stride=2),
    "fold": lambda t, f, x: f.fold(f.unfold(x, 3, 1, 1, 2) * 2, (8, 8), 3, 1, 1, 2),
    "fold_dilated": lambda t, f, x: f.fold(f.unfold(x, (2, 3), 2, 0, (1, 2)), (8, 8), (2, 3), 2, 0, (1, 2)),
    "full_like": lambda t, f, x: x + t.full_like(x, 0.5) + t.zeros_like(x) + x.new_ones(8) + x.new_full((1,), 2.0),
    "gelu": lambda t, f, x: f.gelu(x) + f.gelu(x, approximate="tanh"),
    "glu": lambda t, f, x: f.glu(x, 3),
    "group_norm": lambda t, f, x: f.group_norm(x, 3, t.arange(3.0), t.ones(3)),
    "hard_activations": lambda t, f, x: f.hardswish(x) + f.hardsigmoid(x) + f.hardtanh(x, -0.5, 0.5) + f.relu6(x),
    "index": lambda t, f, x: x[:, :, t.tensor([[0, 3], [-1, 2]])],
    "index_pair": lambda t, f, x: x[:, :, t.tensor([0, 3]), t.tensor([[1], [-2]])],
    "index_select": lambda t, f, x: x.index_select(3, t.tensor([7, 0])),
    "inplace": lambda t, f, x: f.relu(x + 1, inplace=True) + f.silu(x * 2, inplace=True),
    "inplace_of_a_view": lambda t, f, x: (lambda y: (y[:, :1].add_(1), y)[1])(x * 1),
    "interpolate_bilinear": lambda t, f, x: f.interpolate(x, size=(5, 12), mode="bilinear"),
    "interpolate_bilinear_corners": lambda t, f, x: f.interpolate(
        x, scale_factor=2, mode="bilinear", align_corners=True
    ),
    "interpolate_nearest": lambda t, f, x: f.interpolate(x, scale_factor=2),
    "l2_normalize": lambda t, f, x: f.normalize(x, dim=-1) + f.normalize(x, dim=1),
    "layer_norm": lambda t, f, x: f.layer_norm(x, (8,)),
    "layer_norm_two_axes": lambda t, f, x: f.layer_norm(x, (8, 8), t.arange(64.0).reshape(8, 8) / 9, t.eye(8), 1e-3),
    "leaky_relu": lambda t, f, x: f.leaky_relu(x, 0.2),
    "log_softmax": lambda t, f, x: f.log_softmax(x, 1),
    "masked_fill": lambda t, f, x: (
        x.masked_fill(t.eye(8).bool(), 0.3) + x.masked_fill(t.eye(8).bool(), -t.inf).softmax(-1)
    ),
    "matmul_constant": lambda t, f, x: x @ t.ones(8, 3) + (t.ones(5, 8) @ x).mean(),
    "matmul_vector": lambda t, f, x: (x @ t.arange(8.0)) + x @ x[0, 0, 0],
    "max_pool": lambda t, f, x: f.max_pool2d(x, 3, 2, 1),
    "max_pool_ceil": lambda t, f, x: f.max_pool2d(x, 3, 2, ceil_mode=True),
    "maximum_minimum": lambda t, f, x: t.maximum(x, x.flip(2)) - t.minimum(x, t.ones(8)),
    "mean": lambda t, f, x: x.mean((2, 3)) + x.mean() + x.mean(-1, keepdim=True).sum(2)[..., 0],
    "movedim": lambda t, f, x: x.movedim(1, 3) * 2 - x.permute(0, 2, 3, 1) + x.mT.mean(),
    "max_dim": lambda t, f, x: x.max(1)[0] + x.min(2)[0].mean() + x.max() + x.min(),
    "narrow": lambda t, f, x: x.narrow(2, 3, 4),
    "new_positions": lambda t, f, x: x + t.linspace(0, 1, 8).sin()[None, :, None],
    "norms": lambda t, f, x: (
        x.norm(dim=1) + x.abs().sum(1) + t.linalg.vector_norm(x, 1, 1) + t.linalg.vector_norm(x, t.inf, 1)
    ),
    "pad_constant": lambda t, f, x: f.pad(x, (1, 0, -1, 2), value=0.7),
    "pad_reflect": lambda t, f, x: f.pad(x, (2, 1, 0, 3), mode="reflect"),
    "pixel_shuffle": lambda t, f, x: f.pixel_shuffle(x.reshape(1, 12, 4, 4), 2),
    "pow": lambda t, f, x: (
        (x**2 + 1) ** 0.5 + (x * x + 1) ** -0.5 + x**3 + (x.abs() + 1) ** 1.7 + (x.abs() + 1) ** -1 + x**1
    ),
    "pow_tensor": lambda t, f, x: (x.abs() + 1) ** x + 1.5**x,
    "reciprocal": lambda t, f, x: (x * x + 1).reciprocal() + 1 / (x.abs() + 1),
    "repeat": lambda t, f, x: x.repeat(1, 2, 1, 1) - x.repeat(1, 1, 2, 1, 1)[:, 0].mean(),
    "rms_norm": lambda t, f, x: f.rms_norm(x, (8,), t.arange(8.0), 1e-5),
    "roll": lambda t, f, x: x.roll((3, -2), (2, 3)) + x.roll(5),
    "rsub": lambda t, f, x: 1 - x + t.rsub(x, 2, alpha=3),
    "select": lambda t, f, x: x[:, -1] + x.select(2, 3)[:, :1],
    "sigmoid_silu_tanh": lambda t, f, x: x.sigmoid() + f.silu(x) + x.tanh(),
    "sign_neg": lambda t, f, x: (x + 10).sign() * -x,
    "sin_cos": lambda t, f, x: x.sin() * x.cos(),
    "slices": lambda t, f, x: x[:, 1:, ::2, -3:] - x[:, :2, 1::2, 2:5],
    "softmax": lambda t, f, x: x.softmax(-1) + x.softmax(1),
    "split": lambda t, f, x: t.cat([p * i for i, p in enumerate((*x.split(3, 2), *x.split([2, 6], 2)))], 2),
    "sqrt_rsqrt": lambda t, f, x: (x * x + 1).sqrt() + (x * x + 1).rsqrt(),
    "squeeze": lambda t, f, x: x[:, :1].squeeze(1).unsqueeze(-1).squeeze() + 1,
    "stack": lambda t, f, x: t.stack([x, x * 2], 2),
    "std_var": lambda t, f, x: x.var((2, 3)) + x.std(1).mean() + t.var_mean(x, 1, correction=0, keepdim=True)[1].mean(),
    "sub_alpha": lambda t, f, x: t.sub(x, x.flip(1), alpha=2) - 3,
    "sum": lambda t, f, x: x.sum(1) + x.sum() + x.sum((1, 2), keepdim=True)[0],
    "to_half_and_back": lambda t, f, x: x.to(t.float64).float() + x.contiguous().clone().detach(),
    "unbind": lambda t, f, x: x.unbind(1)[0] * x.unbind(1)[2],
    "where_constant": lambda t, f, x: t.where(t.eye(8).bool(), x, 2.0) + t.where(t.eye(8).bool(), t.ones(8), x),
    "write_to_slice": lambda t, f, x: (lambda y: (y[:, :, 2:5].copy_(x[:, :, :3]), y)[1])(x * 2),
}


CAPTURED_ONLY = {"fold", "fold_dilated"}
"""torch decomposes these into scattered sums, which the IR does not have."""


def functional_model(function: Callable[[Any, Any, Any], Any]) -> Any:
    import torch

    class Model(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return function(torch, torch.nn.functional, x).reshape(1, -1)

    return Model()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_matches_torch(name: str) -> None:
    model = functional_model(FUNCTIONS[name])
    program = export(model)
    assert_same(lower_program(program, PREPROCESS, name), model)
    if name not in CAPTURED_ONLY:
        assert_same(lower_program(decomposed_of(program), PREPROCESS, name), model)


def _modules() -> dict[str, Callable[[], Any]]:
    from torch import nn

    return {
        "batch_norm_1d": lambda: nn.Sequential(nn.Flatten(2), nn.BatchNorm1d(3)),
        "batch_norm_2d": lambda: nn.BatchNorm2d(3),
        "batch_norm_plain": lambda: nn.BatchNorm2d(3, affine=False),
        "batch_norm_vector": lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(192)),
        "conv": lambda: nn.Conv2d(3, 5, (3, 2), stride=(2, 1), padding=(1, 0)),
        "conv_1d": lambda: nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 6, 3, padding=1, groups=3)),
        "conv_depthwise": lambda: nn.Conv2d(3, 6, 3, padding=2, dilation=2, groups=3, bias=False),
        "conv_same": lambda: nn.Conv2d(3, 4, (4, 3), padding="same"),
        "conv_valid": lambda: nn.Conv2d(3, 4, 3, padding="valid"),
        "dropout": lambda: nn.Sequential(nn.Dropout(0.5), nn.Dropout2d(0.5)),
        "embedding": _with_table,
        "group_norm": lambda: nn.GroupNorm(1, 3),
        "layer_norm": lambda: nn.LayerNorm(8, eps=1e-6),
        "layer_norm_without_bias": lambda: nn.LayerNorm(8, bias=False),
        "linear": lambda: nn.Linear(8, 5),
        "linear_without_bias": lambda: nn.Linear(8, 5, bias=False),
        "linear_on_vector": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 4)),
        "multihead_attention": _multi_head,
        "transformer_layer": lambda: nn.Sequential(
            nn.Flatten(2), nn.TransformerEncoderLayer(64, 4, 32, batch_first=True, norm_first=True)
        ),
    }


def _with_table() -> Any:
    import torch

    class WithTable(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(8, 8)
            self.register_buffer("positions", torch.arange(8).flip(0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.table(self.positions)

    return WithTable()


def _multi_head() -> Any:
    import torch

    class MultiHead(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.flatten(1, 2)
            return self.attention(x, x, x, need_weights=False)[0]

    return MultiHead()


MODULES = [
    "batch_norm_1d",
    "batch_norm_2d",
    "batch_norm_plain",
    "batch_norm_vector",
    "conv",
    "conv_1d",
    "conv_depthwise",
    "conv_same",
    "conv_valid",
    "dropout",
    "embedding",
    "group_norm",
    "layer_norm",
    "layer_norm_without_bias",
    "linear",
    "linear_on_vector",
    "linear_without_bias",
    "multihead_attention",
    "transformer_layer",
]


@pytest.mark.parametrize("name", MODULES)
def test_module_matches_torch(name: str) -> None:
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(_modules()[name](), torch.nn.Flatten())
    perturb(model, 0.3)
    program = export(model)
    assert_same(lower_program(program, PREPROCESS, name), model)
    assert_same(lower_program(decomposed_of(program), PREPROCESS, name), model)


def test_grey_model_sees_luma() -> None:
    import numpy as np
    import torch

    from edgevit.ir.interp import run
    from tests.frontend.compare import SIZE, pixels

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 3)).eval()
    graph = lower(model, preprocess=PREPROCESS)
    images = pixels(SIZE)
    grey = images[:, 0] @ np.array([0.299, 0.587, 0.114], np.float32)
    seen = (grey / 255 - PREPROCESS.mean[0]) / PREPROCESS.std[0]
    with torch.no_grad():
        wanted = model(torch.from_numpy(seen.astype(np.float32))[:, None]).numpy()
    assert graph.inputs[0].shape == (1, 8, 8, 3)
    np.testing.assert_allclose(run(graph, [images])[0][0], wanted, atol=1e-4)
