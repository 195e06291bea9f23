"""Which form of each normalization and GELU the model gets: the one that keeps most of the signal on the calibration
images.

Every candidate is tried where it would stand: its input is taken from the float model, the form is calibrated,
quantized and run on a handful of images, and its output compared with the exact op. A form with more ops has to gain
``auto_gain_db`` over the best cheaper one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from edgevit.ir.graph import Graph
from edgevit.ir.interp import run
from edgevit.ir.op import Op
from edgevit.ir.ops import Gelu, Input, LayerNorm, RmsNorm
from edgevit.ir.types import TensorType, dequantize_array, quantize_array
from edgevit.passes import gelu_forms, norm_forms
from edgevit.quant.arrays import Numbers
from edgevit.quant.calibrate import calibrate
from edgevit.quant.config import QuantConfig
from edgevit.quant.constraints import GridPolicy
from edgevit.quant.quantize import QuantizeGraph
from edgevit.report.model import Alternative, DecisionRow

IMAGES = 4
MAX_ROWS = 512
"""Rows (tokens) of a site that are tried."""


@dataclass(frozen=True)
class FormChoice:
    """The form of one place and what every candidate reached (empty when the configuration chose): SQNR in
    dB of its 8-bit output against the exact op.
    """

    loc: str
    kind: str
    chosen: str
    sqnr_db: Mapping[str, float]


def decision_row(choice: FormChoice) -> DecisionRow:
    """The choice as a row of the report."""
    kind: Literal["norm", "gelu"] = "norm" if choice.kind == "norm" else "gelu"
    tried = tuple(Alternative(name=name, sqnr_db=value) for name, value in choice.sqnr_db.items())
    return DecisionRow(loc=choice.loc, kind=kind, chosen=choice.chosen, alternatives=tried)


@dataclass(frozen=True, eq=False)
class _Site:
    """A normalization or GELU, with the op that takes its input ``x`` to the result in a given form."""

    op: LayerNorm | RmsNorm | Gelu
    kind: str
    candidates: tuple[str, ...]
    expand: Callable[[Op, str], Op]


def choose_forms(graph: Graph, images: Numbers, config: QuantConfig, policy: GridPolicy) -> list[FormChoice]:
    """A form for every normalization and GELU of a prepared float graph.

    ``images`` are raw pixels (S, H, W, 3), of which the first few are used. A place for which the configuration names a
    form gets that form without being measured.
    """
    sites = [site for op in graph.ops if (site := _site(op)) is not None]
    wanted = {site.op: _configured(site, config) for site in sites}
    measured = [site for site in sites if wanted[site.op] == "auto"]
    inputs = _inputs(graph, images[:IMAGES], [site.op.x for site in measured])
    choices = []
    for site in sites:
        form = wanted[site.op]
        if form != "auto":
            choices.append(FormChoice(site.op.loc, site.kind, form, {}))
            continue
        found = {name: _sqnr(site, name, inputs[site.op.x], config, policy) for name in site.candidates}
        choices.append(FormChoice(site.op.loc, site.kind, _best(site.candidates, found, config.auto_gain_db), found))
    return choices


def _best(candidates: Sequence[str], found: Mapping[str, float], gain: float) -> str:
    """The cheapest candidate that no dearer one beats by ``gain`` dB."""
    chosen = candidates[0]
    for name in candidates[1:]:
        if found[name] >= found[chosen] + gain:
            chosen = name
    return chosen


def by_loc(choices: Sequence[FormChoice], kind: str) -> dict[str, str]:
    """The chosen forms of one kind, by module path."""
    return {choice.loc: choice.chosen for choice in choices if choice.kind == kind}


def _site(op: Op) -> _Site | None:
    """Candidates come with the fewest ops first."""
    if isinstance(op, RmsNorm):
        return _Site(op, "norm", ("l2", "rms"), lambda x, form: norm_forms.expand(replace(op, x=x, type=x.type), form))
    if isinstance(op, LayerNorm):
        return _Site(op, "norm", ("l2", "mean"), lambda x, form: norm_forms.expand(replace(op, x=x, type=x.type), form))
    if isinstance(op, Gelu):
        return _Site(
            op,
            "gelu",
            ("sigmoid", "relu6", "cubic", "tanh"),
            lambda x, form: gelu_forms.expand(replace(op, x=x, type=x.type), form),
        )
    return None


def _configured(site: _Site, config: QuantConfig) -> str:
    layer = config.layer(site.op.loc)
    return layer.norm if site.kind == "norm" else layer.gelu


def _inputs(graph: Graph, images: Numbers, values: Sequence[Op]) -> dict[Op, Numbers]:
    """The values of some ops as rows (S, rows, channels), at most MAX_ROWS rows in all."""
    found: dict[Op, Numbers] = {}
    wanted = set(values)

    def observe(op: Op, array: Numbers) -> None:
        if op in wanted:
            rows = array.reshape(-1, array.shape[-1])
            found[op] = rows[:: -(-len(rows) // MAX_ROWS)].copy()

    if wanted:
        run(graph, [images[:, None].astype(np.float32)], observe)
    return found


def _sqnr(site: _Site, form: str, rows: Numbers, config: QuantConfig, policy: GridPolicy) -> float:
    """SQNR in dB of one form in 8 bits on rows (rows, channels)."""
    x = Input("x", type=TensorType((1, rows.shape[-1])), loc=site.op.loc)
    candidate = Graph.of("candidate", [site.expand(x, form)], inputs=[x])
    exact = Graph.of("exact", [replace(site.op, x=x, type=x.type)], inputs=[x])
    samples = rows[:, None]
    alone = config.model_copy(update={"sequential": False, "layers": ()})
    calibrated = calibrate(candidate, [samples], alone, constraints=policy)
    quantized = QuantizeGraph(alone, policy).run(calibrated)
    reference = run(exact, [samples])[0].astype(np.float64)
    (result,) = run(quantized, [quantize_array(samples, quantized.inputs[0].type)])
    real = dequantize_array(result, quantized.outputs[0].type)
    noise = float(np.square(real - reference).sum())
    signal = float(np.square(reference).sum())
    return 10 * math.log10(signal / noise) if noise > 0 < signal else math.inf
