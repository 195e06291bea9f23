"""The Efficient Error Rate of Papa et al. (arXiv 2309.02031v2): what a model costs beside a reference, as one number.

    Eq. 26              1/n  sum_i M_i / R_i
    Eq. 28, literal     1/n  sum_i d_i M_i / R_i     with sum d_i = 1
    Eq. 28, normalized       sum_i d_i M_i / R_i     with sum d_i = 1

M are the figures of the model and R those of the reference in n metrics, of which less is better. The literal form
gives the reference itself 1/n; the normalized one gives it 1, and is Eq. 26 where all d are equal (docs/adr/0004).
Rates are ratios here; the survey prints them in percent.

Every figure has a unit and a kind. Figures of unlike kinds are never mixed silently: a model's own have to be of one
kind unless the caller allows otherwise, device figures have to be of the reference's kind and conditions, and the
result says which kinds it was made of.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edgevit.errors import UsageError

Kind = Literal["measured", "estimated", "published"]
"""Counted or timed here, computed by a model of something that was not run, or read from a publication."""

Statistic = Literal["mean", "p50", "p90"]
SUM_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Metric:
    """One metric, of which less is better. ``device`` is whether it depends on what runs the model and how;
    ``statistic`` is what is taken of raw samples.
    """

    name: str
    symbol: str
    unit: str
    device: bool = False
    statistic: Statistic = "mean"


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("params", "#Par", "M"),
        Metric("flops", "FLOPs", "GMAC"),
        Metric("bits", "#Bit", "bit"),
        Metric("size", "Size", "MB"),
        Metric("latency", "Latency p50", "ms", device=True, statistic="p50"),
        Metric("latency-p90", "Latency p90", "ms", device=True, statistic="p90"),
        Metric("energy", "Energy", "mJ", device=True),
        Metric("memory", "Peak memory", "MB", device=True),
        Metric("load", "Load time", "ms", device=True),
    )
}
SURVEY_METRICS = ("params", "flops", "bits", "size")


@dataclass(frozen=True)
class Figure:
    """A value with its unit and kind. ``conditions`` names what a device figure was taken under (device, run time,
    threads); ``samples`` are the raw ones, in the same unit, that ``value`` is the metric's statistic of.

    Raises ValueError for a value or sample that is negative or not finite.
    """

    value: float
    unit: str
    kind: Kind
    conditions: str = ""
    samples: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) and value >= 0 for value in (self.value, *self.samples)):
            raise ValueError("a figure is finite and not negative")


Figures = Mapping[str, Figure]

VIT_B16: Figures = {
    "params": Figure(86.6, "M", "published"),
    "flops": Figure(17.6, "GMAC", "published"),
    "bits": Figure(32, "bit", "published"),
    "size": Figure(330, "MB", "published"),
}
"""The survey's reference, ViT-B/16. Its 330 "MB" are MiB (86.6 M float32 are 346.4 MB), and are kept as printed."""


@dataclass(frozen=True)
class Term:
    """One metric's part of a rate: its weight, M / R, and the kinds of M and R."""

    metric: str
    weight: float
    ratio: float
    kind: Kind
    reference_kind: Kind


@dataclass(frozen=True)
class Eer:
    """A rate by the normalized form, which is Eq. 26 for equal weights, and by the literal form of Eq. 28."""

    terms: tuple[Term, ...]

    @property
    def value(self) -> float:
        return equation_28([t.ratio for t in self.terms], [t.weight for t in self.terms])

    @property
    def literal(self) -> float:
        return equation_28_literal([t.ratio for t in self.terms], [t.weight for t in self.terms])

    @property
    def kinds(self) -> str:
        """What it was made of: ``measured``, ``measured against published``, ``published (bits estimated)``."""
        own = _kinds_text([(term.metric, term.kind) for term in self.terms])
        reference = _kinds_text([(term.metric, term.reference_kind) for term in self.terms])
        return own if own == reference else f"{own} against {reference}"


def equation_26(ratios: Sequence[float]) -> float:
    """The mean of the ratios M / R."""
    return math.fsum(ratios) / len(ratios)


def equation_28(ratios: Sequence[float], weights: Sequence[float]) -> float:
    """The weighted mean; ``weights`` sum to 1."""
    return math.fsum(weight * ratio for weight, ratio in zip(weights, ratios, strict=True))


def equation_28_literal(ratios: Sequence[float], weights: Sequence[float]) -> float:
    """Eq. 28 as it is printed: the weighted mean divided once more by the number of metrics."""
    return equation_28(ratios, weights) / len(ratios)


def efficient_error_rate(
    figures: Figures,
    reference: Figures,
    weights: Mapping[str, float],
    *,
    name: str = "model",
    allow_mixed: bool = False,
) -> Eer:
    """The rate of a model beside ``reference``, over the metrics that ``weights`` names (they sum to 1).

    Raises UsageError for a figure that is missing or in another unit, for a reference of zero, for device figures of
    unlike kind or conditions, and, without ``allow_mixed``, for a model whose figures are of several kinds.
    """
    terms = []
    for metric, weight in weights.items():
        ours, theirs = _figure(figures, metric, name), _figure(reference, metric, "the reference")
        if theirs.value == 0:
            raise UsageError(f"{metric} is 0", where="the reference", hint="leave this metric out with --metrics")
        _check_comparable(metric, ours, theirs, name)
        terms.append(Term(metric, weight, ours.value / theirs.value, ours.kind, theirs.kind))
    kinds = {term.kind for term in terms}
    if len(kinds) > 1 and not allow_mixed:
        listing = ", ".join(f"{term.metric} {term.kind}" for term in terms)
        hint = "choose metrics of one kind with --metrics, or accept the mixture with --allow-mixed"
        raise UsageError(f"figures of several kinds: {listing}", where=name, hint=hint)
    return Eer(tuple(terms))


def uniform(metrics: Sequence[str]) -> dict[str, float]:
    """Equal weights that sum to 1."""
    return {metric: 1 / len(metrics) for metric in metrics}


def parse_metrics(text: str) -> tuple[str, ...]:
    """The metrics of ``params,flops``. Raises UsageError for an unknown one, one named twice, and none."""
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        _check_known(name, "--metrics")
    _check_once(names, "--metrics")
    return names


def parse_weights(text: str, metrics: Sequence[str] | None = None) -> dict[str, float]:
    """The weights of ``latency=0.5,size=0.5``, which sum to 1 and name exactly ``metrics`` where these are given.

    Raises UsageError for anything else.
    """
    found: list[tuple[str, float]] = []
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise UsageError(f"{part.strip()!r} has no weight", where="--weights", hint="write latency=0.5,size=0.5")
        _check_known(name, "--weights")
        found.append((name, _weight(name, number)))
    _check_once([name for name, _ in found], "--weights")
    weights = dict(found)
    total = math.fsum(weights.values())
    if abs(total - 1) > SUM_TOLERANCE:
        raise UsageError(f"they sum to {total:g}, not to 1", where="--weights", hint="divide each by that sum")
    if metrics is not None and set(metrics) != set(weights):
        what = f"they name {', '.join(weights)}, --metrics names {', '.join(metrics)}"
        raise UsageError(what, where="--weights", hint="give each metric one weight, or leave --metrics out")
    return weights


def _weight(name: str, number: str) -> float:
    hint = "a weight is a number above 0 and at most 1; leave out a metric that is not to count"
    try:
        value = float(number)
    except ValueError:
        raise UsageError(f"{name}={number} is no number", where="--weights", hint=hint) from None
    if not 0 < value <= 1:
        raise UsageError(f"{name}={number}", where="--weights", hint=hint)
    return value


def _check_known(name: str, where: str) -> None:
    if name not in METRICS:
        near = difflib.get_close_matches(name, METRICS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"metrics: {', '.join(METRICS)}"
        raise UsageError(f"no metric {name!r}", where=where, hint=hint)


def _check_once(names: Sequence[str], where: str) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{', '.join(twice)} more than once", where=where, hint="name each metric once")


def _figure(figures: Figures, metric: str, name: str) -> Figure:
    found = figures.get(metric)
    if found is None:
        held = ", ".join(figures) or "none"
        raise UsageError(f"no figure for {metric}", where=name, hint=f"figures that it has: {held}")
    if found.unit != METRICS[metric].unit:
        what = f"{metric} is in {found.unit}, not in {METRICS[metric].unit}"
        raise UsageError(what, where=name, hint="convert the figure")
    return found


def _check_comparable(metric: str, ours: Figure, theirs: Figure, name: str) -> None:
    """A parameter is a parameter anywhere, a millisecond only on the same device under the same conditions."""
    if METRICS[metric].device and (ours.kind, ours.conditions) != (theirs.kind, theirs.conditions):
        what = f"{metric} is {ours.kind} ({ours.conditions or 'conditions unknown'}), "
        what += f"that of the reference {theirs.kind} ({theirs.conditions or 'conditions unknown'})"
        raise UsageError(what, where=name, hint="give a reference that was taken in the same way, on the same device")


def _kinds_text(kinds: Sequence[tuple[str, Kind]]) -> str:
    """The kind of most, with the metrics of other kinds after it."""
    values = [kind for _, kind in kinds]
    most = max(dict.fromkeys(values), key=values.count)
    others = ", ".join(f"{metric} {kind}" for metric, kind in kinds if kind != most)
    return f"{most} ({others})" if others else most
