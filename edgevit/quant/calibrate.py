"""Calibration: the range of every value, from images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from edgevit.errors import QuantError
from edgevit.ir.graph import Form, Graph
from edgevit.ir.interp import run
from edgevit.ir.op import Op
from edgevit.ir.ops import Const, Conv2d, Linear
from edgevit.ir.types import DType
from edgevit.quant.arrays import Numbers
from edgevit.quant.config import QuantConfig
from edgevit.quant.constraints import INT8_POLICY, GridPolicy, Group, Sharing, group_range, group_spec, share_grids
from edgevit.quant.grids import real_limits
from edgevit.quant.observers import Extremes, make_observer
from edgevit.quant.rebuild import rebuild
from edgevit.quant.sequential import Refined, refine
from edgevit.quant.walk import MEMORY_BYTES, Progress, as_input, channel_mean, live_bytes, slices, stack_images
from edgevit.quant.weights import Decision

_SLICE_BYTES = MEMORY_BYTES // 4


@dataclass(frozen=True)
class Note:
    """Something that calibration did and a person should know."""

    loc: str
    text: str


def calibrate(
    graph: Graph,
    batches: Iterable[Numbers],
    config: QuantConfig,
    *,
    constraints: GridPolicy = INT8_POLICY,
    decisions: Sequence[Decision] = (),
    progress: Progress | None = None,
    notes: list[Note] | None = None,
) -> Graph:
    """The calibrated form of a float graph: every real value has the range that its grid is to cover.

    ``batches`` are images (S, H, W, 3), uint8 or real pixel values 0 .. 255; they are batched anew so that memory
    stays bounded. With ``config.sequential`` the ranges are chosen behind quantized layers (see ``sequential``),
    which also corrects biases and needs ``decisions``, the granularity of weights. ``notes`` collects what is worth a
    warning. ``progress(done, total)`` counts images first, then ops.

    Raises UsageError for overrides that match nothing, QuantError for a graph in another form, for no images, for
    images that do not fit and for values that are not finite, with their place.
    """
    if graph.form is not Form.FLOAT:
        raise QuantError(f"a graph in the {graph.form.value} form", where=graph.name, hint="calibrate the float graph")
    config.check_layers(graph)
    notes = [] if notes is None else notes
    images = stack_images(graph, batches)
    sharing = share_grids(graph, constraints)
    steps = len(images) + (len(graph.ops) if config.sequential else 0)
    seen = _observe(graph, images, config, constraints, sharing, steps, progress)
    notes += [
        Note(op.loc, f"{op.NAME} is constant ({o.lo:g}) on the calibration images")
        for op, o in seen.observers.items()
        if o.constant
    ]
    result = Refined(_ranges(sharing, seen.observers, config, constraints))
    if config.sequential:
        fitting = max(1, MEMORY_BYTES // live_bytes(graph))
        if fitting < len(images):
            notes.append(
                Note(
                    "", f"sequential calibration uses {fitting} of {len(images)} images: more do not fit in its memory"
                )
            )

        def count(done: int, total: int) -> None:
            if progress is not None:
                progress(len(images) + done, len(images) + total)

        result = refine(
            graph, images[:fitting], config, constraints, sharing, result.ranges, seen.means, decisions, count
        )
    return _calibrated(graph, sharing, result)


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the float pass collected: observers of the sources, and the mean of each output channel of linear ops."""

    observers: Mapping[Op, Extremes]
    means: Mapping[Op, Numbers]


def _observe(
    graph: Graph,
    images: Numbers,
    config: QuantConfig,
    policy: GridPolicy,
    sharing: Sharing,
    steps: int,
    progress: Progress | None,
) -> _Seen:
    observers: dict[Op, Extremes] = {}
    for group in sharing.groups:
        if group.fixed is None:
            spec = group_spec(group, policy, config)
            for op in group.sources:
                layer = config.layer(op.loc, op.NAME)
                observers[op] = make_observer(
                    layer.observer_of(op), spec, percentile=layer.percentile, momentum=config.momentum
                )
    sums: dict[Op, Numbers] = {}

    def observe(op: Op, array: Numbers) -> None:
        if op in observers:
            try:
                observers[op].update(array)
            except QuantError as error:
                raise QuantError(f"{op.NAME}: {error.what}", where=op.loc, hint=error.hint) from None
        if isinstance(op, (Linear, Conv2d)):
            sums[op] = sums.get(op, 0.0) + channel_mean(array) * part_size

    done = 0
    for part in slices(len(images), live_bytes(graph), _SLICE_BYTES):
        part_size = part.stop - part.start
        run(graph, [as_input(graph, images[part])], observe)
        done += part_size
        if progress is not None:
            progress(done, steps)
    return _Seen(observers, {op: total / len(images) for op, total in sums.items()})


def _ranges(
    sharing: Sharing, observers: Mapping[Op, Extremes], config: QuantConfig, policy: GridPolicy
) -> dict[Group, tuple[float, float]]:
    seen = {op: observer.range() for op, observer in observers.items()}
    for group in sharing.groups:
        if group.fixed is not None:
            limits = real_limits(group.fixed, group_spec(group, policy, config))
            seen.update(dict.fromkeys(group.members, limits))
    return {group: group_range(group, seen, group_spec(group, policy, config)) for group in sharing.groups}


def _calibrated(graph: Graph, sharing: Sharing, result: Refined) -> Graph:
    def transform(old: Op, op: Op) -> Op:
        if isinstance(op, Const) or old.type.dtype is not DType.F32:
            return op
        if old in result.biases:
            assert isinstance(op, (Linear, Conv2d))
            op = replace(op, bias=Const(result.biases[old], loc=op.loc))
        return op.with_type(op.type.with_range(*result.ranges[sharing.group_of[old]]))

    return rebuild(graph, transform).with_form(Form.CALIBRATED)
