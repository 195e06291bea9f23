"""`rotate-residual`: rotate the residual stream, so that no channel stands out (see ``residual_stream``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgevit.passes.residual_stream import Matrix, StreamPass


@dataclass(frozen=True)
class RotateResidual(StreamPass):
    """Rotate the residual stream by a Hadamard-like matrix with signs drawn from ``seed``."""

    NAME: ClassVar[str] = "rotate-residual"
    THROUGH_NORMS: ClassVar[bool] = True
    seed: int = 0

    def matrix(self, channels: int) -> Matrix:
        return rotation(channels, self.seed)


def rotation(channels: int, seed: int) -> Matrix:
    """An orthogonal (C, C) matrix, no entry larger than sqrt(2 / C), so that it spreads each channel over many.

    Sylvester's Hadamard matrix of the largest power of two in C, Kronecker the orthonormal DCT-II of the rest, with
    random signs on the rows. For a power of two all entries are equal in size.
    """
    power = channels & -channels
    hadamard = np.ones((1, 1))
    while hadamard.shape[0] < power:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    rest = channels // power
    rows, columns = np.meshgrid(np.arange(rest), np.arange(rest), indexing="ij")
    dct = np.cos(np.pi * (2 * columns + 1) * rows / (2 * rest)) * np.sqrt(2 / rest)
    dct[0] /= np.sqrt(2)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], channels)
    return np.asarray(signs[:, None] * np.kron(hadamard / np.sqrt(power), dct))
