"""What a model has to be like, and how the frontend says that it is not."""

from __future__ import annotations

from typing import Any

import pytest

from edgevit.errors import FrontendError
from edgevit.frontend import load_model, lower
from tests.frontend.compare import SIZE, export
from tests.tools import requires

pytestmark = requires("torch")


def classifier(channels: int = 3) -> Any:
    import torch

    return torch.nn.Sequential(torch.nn.Conv2d(channels, 4, 4, 4), torch.nn.Flatten(), torch.nn.Linear(16, 5))


def failure(source: Any, size: tuple[int, int] | None = SIZE) -> str:
    with pytest.raises(FrontendError) as caught:
        lower(source, input_size=size)
    assert caught.value.exit_code == 3
    assert caught.value.hint
    return str(caught.value)


def test_nan_and_infinite_parameters_are_named() -> None:
    import torch

    model = classifier()
    with torch.no_grad():
        model[0].weight[0, 0, 0, :2] = torch.nan
        model[2].bias[1] = torch.inf
    text = failure(model)
    assert "0.weight (2 of 192 elements)" in text
    assert "2.bias (1 of 5 elements)" in text
    assert "0.bias" not in text


def test_nan_buffer_is_named_but_a_mask_is_not() -> None:
    import torch

    class Masked(torch.nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.register_buffer("mask", torch.full((8,), value))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x + self.mask).softmax(1).flatten(1)

    assert "mask (8 of 8 elements)" in failure(Masked(torch.nan))
    assert lower(Masked(-torch.inf), input_size=SIZE).outputs[0].shape == (1, 192)


def test_many_bad_parameters_are_counted() -> None:
    import torch

    model = torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(6)), torch.nn.Flatten())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(torch.nan)
    assert "and 4 more" in failure(model)


def test_dynamic_batch_is_named() -> None:
    import torch

    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(classifier().eval(), (torch.zeros(4, 3, *SIZE),), dynamic_shapes=({0: batch},))
    text = failure(program, None)
    assert "dynamic batch (dimension 0" in text
    assert "static shapes" in text


def test_fixed_batch_is_refused() -> None:
    import torch

    program = torch.export.export(classifier().eval(), (torch.zeros(4, 3, *SIZE),))
    assert "fixed to batches of 4" in failure(program, None)


def test_channels_are_checked() -> None:
    assert "an image of 6 channels" in failure(export(classifier(6), channels=6), None)


def test_module_with_other_channels_fails_in_capture() -> None:
    assert "torch.export could not capture it" in failure(classifier(6))


def test_rank_is_checked() -> None:
    import torch

    program = torch.export.export(torch.nn.Linear(8, 2).eval(), (torch.zeros(1, 8),))
    assert "[1, 8] is no image" in failure(program, None)


def test_integer_input_is_refused() -> None:
    import torch

    class Casts(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.float().flatten(1)

    program = torch.export.export(Casts(), (torch.zeros(1, 3, *SIZE, dtype=torch.uint8),))
    assert "torch.uint8" in failure(program, None)


def test_several_inputs_are_listed() -> None:
    import torch

    class Two(torch.nn.Module):
        def forward(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
            return image.flatten(1) + text

    assert "needs 2 inputs: image, text" in failure(Two())
    program = torch.export.export(Two(), (torch.zeros(1, 3, *SIZE), torch.zeros(1, 192)))
    text = failure(program, None)
    assert "2 inputs: image [1, 3, 8, 8], text [1, 192]" in text


def test_several_outputs_are_listed() -> None:
    import torch

    class Two(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x.flatten(1), x.mean((2, 3))

    text = failure(Two())
    assert "2 outputs" in text
    assert "[1, 192]" in text
    assert "[1, 3]" in text


def test_other_outputs_than_logits_are_refused() -> None:
    import torch

    assert "is not logits of shape [1, classes]" in failure(torch.nn.Conv2d(3, 4, 3))


def test_capture_failure_tells_the_cause() -> None:
    import torch

    class Branches(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) if x.sum() > 0 else -x.flatten(1)

    text = failure(Branches())
    assert "torch.export could not capture it" in text
    assert "no branch depends on pixels" in text


def test_wrong_size_fails_in_capture() -> None:
    assert "torch.export could not capture it" in failure(classifier(), (16, 16))


def test_modes_of_the_module_are_put_back() -> None:
    model = classifier().train()
    model[1].eval()
    load_model(model, input_size=SIZE)
    assert [part.training for part in model] == [True, False, True]
    assert model.training
