"""How a target graph answers compared with the float model: top-1 of both, agreement, and the signal-to-noise ratio of
the logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgevit.data.imageset import Batch
from edgevit.errors import QuantError
from edgevit.ir.graph import Graph
from edgevit.ir.interp import run
from edgevit.ir.types import Array, dequantize_array
from edgevit.quant.walk import as_input, live_bytes

BATCH_BYTES = 1 << 28
"""Live activations of one evaluated batch."""

MAX_TABLE_CLASSES = 128
"""The most classes for which answers are counted class by class."""


@dataclass(frozen=True)
class Accuracy:
    """Counts over ``images``. The top-1 counts are None without labels.

    With labels and at most MAX_TABLE_CLASSES classes, ``confusion[true][predicted]`` counts the target's answers and
    ``hits_float[true]`` the float model's right ones; else both are empty.
    """

    images: int
    agreeing: int
    correct_float: int | None
    correct_target: int | None
    logits_sqnr_db: float
    confusion: tuple[tuple[int, ...], ...] = ()
    hits_float: tuple[int, ...] = ()

    @property
    def agreement(self) -> float:
        """Part of the images on which both models predict the same class."""
        return self.agreeing / self.images

    @property
    def top1_float(self) -> float | None:
        return None if self.correct_float is None else self.correct_float / self.images

    @property
    def top1_target(self) -> float | None:
        return None if self.correct_target is None else self.correct_target / self.images

    @property
    def drop(self) -> float | None:
        """Points of top-1 that the target loses; negative where it gains."""
        if self.top1_float is None or self.top1_target is None:
            return None
        return 100 * (self.top1_float - self.top1_target)


def batch_size(graph: Graph, most: int = 128) -> int:
    """How many images to evaluate at once within BATCH_BYTES."""
    return max(1, min(most, BATCH_BYTES // live_bytes(graph)))


def logits(graph: Graph, images: Array) -> NDArray[np.float64]:
    """Real-valued logits (S, classes) of a graph on raw pixels uint8 (S, H, W, 3)."""
    (result,) = run(graph, [as_input(graph, images[:, None])])
    type = graph.outputs[0].type
    real = result.astype(np.float64) if type.quant is None else dequantize_array(result, type)
    return real.reshape(len(images), -1)


def measure(
    reference: Graph,
    target: Graph,
    batches: Iterable[Batch],
    classes: int,
    *,
    use_labels: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Accuracy:
    """Evaluate both graphs on images; top-1 only with labels and ``use_labels``. ``progress`` gets the number done.

    Raises QuantError where there are no images or a label is not a class of the model.
    """
    images = agreeing = correct_float = correct_target = 0
    signal = noise = 0.0
    labelled = use_labels
    table = np.zeros((classes, classes) if classes <= MAX_TABLE_CLASSES else (0, 0), np.int64)
    hits = np.zeros(len(table), np.int64)
    for batch in batches:
        exact, ours = logits(reference, batch.images), logits(target, batch.images)
        predicted, answered = exact.argmax(axis=1), ours.argmax(axis=1)
        images += len(batch.images)
        agreeing += int((predicted == answered).sum())
        signal += float(np.square(exact).sum())
        noise += float(np.square(exact - ours).sum())
        labelled = labelled and batch.labels is not None
        if use_labels and batch.labels is not None:
            if batch.labels.max() >= classes:
                raise QuantError(
                    f"label {int(batch.labels.max())} for a model of {classes} classes",
                    where="evaluation",
                    hint="evaluate on images of the classes that the model was trained on",
                )
            correct_float += int((predicted == batch.labels).sum())
            correct_target += int((answered == batch.labels).sum())
            if len(table):
                np.add.at(table, (batch.labels, answered), 1)
                np.add.at(hits, batch.labels[predicted == batch.labels], 1)
        if progress is not None:
            progress(images)
    if not images:
        raise QuantError("no images", where="evaluation", hint="give a folder or an .npz with --eval")
    ratio = math.inf if noise == 0 else 10 * math.log10(signal / noise) if signal > 0 else -math.inf
    if not labelled:
        return Accuracy(images, agreeing, None, None, ratio)
    by_class = tuple(map(tuple, table.tolist()))
    return Accuracy(images, agreeing, correct_float, correct_target, ratio, by_class, tuple(hits.tolist()))
