"""Kernel parameters become integers and come back equal."""

from __future__ import annotations

from typing import Any

import pytest

from edgevit.errors import IRError
from edgevit.integer.packing import pack, unpack
from edgevit_kernels import gelu, layer_norm, softmax

SOFTMAX: dict[str, dict[str, Any]] = {"ibert": {"exponential_bits": 64}, "fqvit": {"exponential_bits": 64}}
NORM: dict[str, dict[str, Any]] = {
    "fqvit": {"alphas": (0, 3), "input_limits": (0, 255)},
    "exact": {"input_scale": 0.125, "epsilon": 1e-6},
    "ivit_repaired": {"input_scale": 0.125, "epsilon": 1e-6},
}


def parameters() -> list[Any]:
    """Parameters of every form of every operator."""
    found = [form.spec.prepare(0.0625, 65, **SOFTMAX.get(name, {})) for name, form in softmax.forms().items()]
    found += [form.spec.prepare(0.0625, 0.03, output_zero_point=-100) for form in gelu.forms().values()]
    found += [
        form.spec.prepare((1.5, -0.5), (0.25, -0.1), 0.02, **NORM.get(name, {}))
        for name, form in layer_norm.forms().items()
    ]
    return found


@pytest.mark.parametrize("params", parameters(), ids=lambda params: type(params).__module__.split(".", 1)[1])
def test_every_forms_parameters_come_back_equal(params: Any) -> None:
    numbers = pack(params)
    assert all(type(number) is int for number in numbers)
    assert unpack(type(params), numbers) == params


@pytest.mark.parametrize("params", parameters(), ids=lambda params: type(params).__module__.split(".", 1)[1])
def test_too_few_and_too_many_integers_are_refused(params: Any) -> None:
    numbers = pack(params)
    for wrong in (numbers[:-1], (*numbers, 0), ()):
        with pytest.raises(IRError):
            unpack(type(params), wrong)
