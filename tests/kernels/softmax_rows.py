"""Rows of scores on which the forms of softmax are measured, and the measurement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit_kernels.softmax import forms

SCALE = 0.0625
"""Of the measured scores: 8 bits span 16 nats, as the rows of sigma 2 need."""


@dataclass(frozen=True)
class Measured:
    """Error of a form against the softmax of the same quantized scores, over all rows."""

    max_error: float
    """In units of the result's own scale."""
    mean_error: float
    max_probability_error: float
    mass: float
    """Mean sum of a row's probabilities; 1 is right."""
    product_sqnr: float
    """Of the product with Gaussian values of 64 channels around a mean, in dB."""


def scores(length: int, sigma: float = 2.0, rows: int = 200, scale: float = SCALE) -> NDArray[np.int64]:
    """Gaussian logits on the grid of 8-bit scores; the seed is the length."""
    logits = np.random.default_rng(length).normal(0.0, sigma, (rows, length))
    return np.clip(np.rint(logits / scale), -128, 127).astype(np.int64)


def softmax(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The real function over the last axis."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    result: NDArray[np.float64] = e / e.sum(axis=-1, keepdims=True)
    return result


def measure(probability: NDArray[np.float64], x: NDArray[np.int64], unit: float, scale: float = SCALE) -> Measured:
    """Compare probabilities with the softmax of the scores x; ``unit`` is the result that stands for 1."""
    real = softmax(x * scale)
    error = np.abs(probability - real)
    generator = np.random.default_rng(1)
    values = generator.normal(0.0, 1.0, (x.shape[-1], 64)) + generator.normal(0.0, 0.5, 64)
    noise = (probability - real) @ values
    return Measured(
        max_error=float(error.max() * unit),
        mean_error=float(error.mean() * unit),
        max_probability_error=float(error.max()),
        mass=float(probability.sum(axis=-1).mean()),
        product_sqnr=float(10 * np.log10(((real @ values) ** 2).mean() / (noise**2).mean())),
    )


def measure_form(name: str, options: dict[str, Any], length: int) -> Measured:
    """Measure a form on ``scores(length)``."""
    x = scores(length)
    params = forms()[name].ref.prepare(SCALE, length, **options)
    return measure(forms()[name].ref.apply(x, params) * float(params.output_scale), x, float(1 / params.output_scale))
