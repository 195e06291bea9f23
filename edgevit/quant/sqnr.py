"""The waterfall: how much of each value survives quantization, as signal-to-quantization-noise ratio in dB.

10 log10(sum reference**2 / sum (reference - candidate)**2) over all elements and images. The ratio at an op holds the
noise of all before it; the *local* ratio is what the op adds alone, when its operands are the reference's values
rounded onto their grids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edgevit.errors import PassError
from edgevit.ir.graph import Graph
from edgevit.ir.interp import evaluate_op, run
from edgevit.ir.op import Op
from edgevit.ir.ops import Clip, Const, Quantize, Relu
from edgevit.ir.types import DType, dequantize_array, quantize_array
from edgevit.quant.arrays import Numbers
from edgevit.quant.decibel import decibel
from edgevit.quant.walk import Progress, as_input, live_bytes, slices, stack_images, total_bytes

_SLICE_BYTES = 1 << 29


@dataclass(frozen=True, eq=False)
class Pair:
    """Two ops that compute the same value: in the float graph, and on grids in the graph that is judged.

    The shapes may differ, the order of elements does not.
    """

    reference: Op
    candidate: Op


@dataclass(frozen=True, eq=False)
class Row:
    """One line of the waterfall. Ratios in dB: infinite without noise, minus infinity for noise without signal.

    ``local_db`` is None where it was not asked for or an operand has no partner in the float graph.
    """

    loc: str
    op: str
    sqnr_db: float
    local_db: float | None
    reference: Op
    candidate: Op


def pair_by_place(reference: Graph, candidate: Graph) -> tuple[Pair, ...]:
    """Pairs of equal op name, module path and number among such, in execution order; constants and integers left out.

    A value on the grid of the relu that alone reads it is left out: it is cut off on purpose. A quantize or clip that
    only the candidate has is a partner of what its operand is a partner of.
    """
    theirs: dict[tuple[str, str, int], Op] = {}
    count: Counter[tuple[str, str]] = Counter()
    for op in reference.ops:
        if op.type.dtype is DType.F32 and not isinstance(op, Const):
            theirs[op.NAME, op.loc, count[op.NAME, op.loc]] = op
            count[op.NAME, op.loc] += 1
    count.clear()
    partner: dict[Op, Op] = {}
    for op in candidate.ops:
        if isinstance(op, Const) or op.type.quant is None:
            continue
        users = candidate.users[op]
        fused = (
            not isinstance(op, Relu)
            and bool(users)
            and all(isinstance(user, Relu) and user.type.quant == op.type.quant for user in users)
        )
        match = theirs.get((op.NAME, op.loc, count[op.NAME, op.loc]))
        if match is not None and match.type.size == op.type.size:
            count[op.NAME, op.loc] += 1
            if not fused:
                partner[op] = match
        elif isinstance(op, (Quantize, Clip)) and op.x in partner:
            partner[op] = partner[op.x]
    return tuple(Pair(theirs_op, op) for op, theirs_op in partner.items())


def compare(
    reference: Graph,
    candidate: Graph,
    batches: Iterable[Numbers],
    *,
    pairs: Sequence[Pair] | None = None,
    local: bool = False,
    progress: Progress | None = None,
) -> tuple[Row, ...]:
    """The waterfall of ``candidate`` (quantized or target form) against the float graph ``reference``.

    ``batches`` are images (S, H, W, 3).

    ``pairs`` says what to compare (default: :func:`pair_by_place`); rows come in the order of the candidate's
    execution. ``progress(done, total)`` counts images. Raises QuantError for images that do not fit, PassError for
    pairs of different size or ops that are not in the graphs.
    """
    pairs = pair_by_place(reference, candidate) if pairs is None else pairs
    _check(reference, candidate, pairs)
    images = stack_images(reference, batches)
    partner = {pair.candidate: pair.reference for pair in pairs}
    meter = _Meter(partner, local)
    held = total_bytes(dict.fromkeys(partner.values())) + live_bytes(reference)
    for part in slices(len(images), held, _SLICE_BYTES):
        meter.reset()
        run(reference, [as_input(reference, images[part])], meter.keep)
        run(candidate, [as_input(candidate, images[part])], meter.measure)
        if progress is not None:
            progress(part.stop, len(images))
    return tuple(meter.row(op) for op in candidate.ops if op in partner)


class _Meter:
    """Adds up the power of signals and noise of all pairs."""

    def __init__(self, partner: dict[Op, Op], local: bool) -> None:
        self.partner, self.local = partner, local
        self.wanted = frozenset(partner.values())
        self.kept: dict[Op, Numbers] = {}
        self.signal: dict[Op, float] = dict.fromkeys(partner, 0.0)
        self.noise: dict[Op, float] = dict.fromkeys(partner, 0.0)
        self.local_noise: dict[Op, float] = {}

    def reset(self) -> None:
        self.kept.clear()

    def keep(self, op: Op, array: Numbers) -> None:
        if op in self.wanted:
            self.kept[op] = array

    def measure(self, op: Op, array: Numbers) -> None:
        if op not in self.partner:
            return
        exact = self._reference(op)
        self.signal[op] += float(np.square(exact).sum())
        self.noise[op] += self._noise(op, array, exact)
        if self.local:
            operands = [self._operand(operand) for operand in op.operands]
            given = [operand for operand in operands if operand is not None]
            if given and len(given) == len(operands):
                alone = evaluate_op(op, given)
                self.local_noise[op] = self.local_noise.get(op, 0.0) + self._noise(op, alone, exact)

    def row(self, op: Op) -> Row:
        local = decibel(self.signal[op], self.local_noise[op]) if op in self.local_noise else None
        return Row(op.loc, op.NAME, decibel(self.signal[op], self.noise[op]), local, self.partner[op], op)

    def _reference(self, op: Op) -> Numbers:
        """The float value that ``op`` is to have, in its shape and with the sample axis."""
        value = self.kept[self.partner[op]].astype(np.float64)
        if value.ndim == self.partner[op].type.rank:
            return value.reshape(op.shape)
        return value.reshape((len(value), *op.shape))

    def _operand(self, operand: Op) -> Numbers | None:
        """An operand as the reference has it, on the operand's grid. One without a partner (a transpose that only the
        target needs) is computed from its own operands; None where that ends at a value without a partner.
        """
        if isinstance(operand, Const):
            return operand.data
        if operand in self.partner and operand.type.quant is not None:
            return quantize_array(self._reference(operand), operand.type)
        given = [self._operand(source) for source in operand.operands]
        known = [array for array in given if array is not None]
        return evaluate_op(operand, known) if known and len(known) == len(given) else None

    @staticmethod
    def _noise(op: Op, array: Numbers, exact: Numbers) -> float:
        value = array if op.type.quant is None else dequantize_array(array, op.type)
        return float(np.square(value - exact).sum())


def _check(reference: Graph, candidate: Graph, pairs: Sequence[Pair]) -> None:
    ours, theirs = set(candidate.ops), set(reference.ops)
    for pair in pairs:
        if pair.candidate not in ours or pair.reference not in theirs:
            raise PassError(
                "a pair with an op of another graph", where=pair.candidate.loc, hint="pair ops of these two graphs"
            )
        if pair.candidate.type.size != pair.reference.type.size:
            sizes = f"{list(pair.reference.shape)} and {list(pair.candidate.shape)}"
            raise PassError(
                f"a pair of values {sizes}", where=pair.candidate.loc, hint="pair values with the same elements"
            )
