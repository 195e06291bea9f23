"""Top-1, agreement and SQNR against values worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from edgevit.data.imageset import Batch
from edgevit.errors import QuantError
from edgevit.ir.graph import Graph
from edgevit.ir.ops import Const, Input, Linear, Reshape
from edgevit.ir.types import TensorType
from edgevit.metrics import accuracy
from edgevit.metrics.accuracy import batch_size, logits, measure
from edgevit.quant.walk import live_bytes


def classifier(weight: NDArray[np.float32]) -> Graph:
    """Logits of a picture of one pixel: ``weight`` (classes, 3) times its red, green and blue."""
    pixel = Input("image", type=TensorType((1, 1, 1, 3)))
    flat = Reshape(pixel, (1, 3))
    return Graph.of("pixel", [Linear(flat, Const(weight.astype(np.float32)), None)], inputs=[pixel])


EXACT = classifier(np.eye(3, dtype=np.float32))
SWAPPED = classifier(np.eye(3, dtype=np.float32)[[1, 0, 2]])
RED, GREEN, BLUE = (np.uint8(row) for row in ([3, 0, 0], [0, 4, 0], [0, 0, 5]))


def batch(pixels: Sequence[NDArray[np.uint8]], labels: Sequence[int] | None) -> Batch:
    images = np.stack(pixels)[:, None, None]
    return Batch(images, None if labels is None else np.array(labels), tuple(map(str, range(len(pixels)))))


def test_logits_of_raw_pixels() -> None:
    images = batch([RED, BLUE], None).images
    np.testing.assert_array_equal(logits(EXACT, images), [[3, 0, 0], [0, 0, 5]])
    np.testing.assert_array_equal(logits(SWAPPED, images), [[0, 3, 0], [0, 0, 5]])


def test_counts_over_several_batches() -> None:
    """The exact model calls the pictures 0, 1, 2, 2; the other one 1, 0, 2, 2."""
    batches = [batch([RED, GREEN], [0, 0]), batch([BLUE, BLUE], [2, 1])]
    seen: list[int] = []
    found = measure(EXACT, SWAPPED, batches, 3, progress=seen.append)
    assert (found.images, found.agreeing, found.correct_float, found.correct_target) == (4, 2, 2, 2)
    assert (found.agreement, found.top1_float, found.top1_target, found.drop) == (0.5, 0.5, 0.5, 0)
    assert seen == [2, 4]
    assert found.confusion == ((1, 1, 0), (0, 0, 1), (0, 0, 1))
    assert found.hits_float == (1, 0, 1)
    signal, noise = 9 + 16 + 25 + 25, 9 + 9 + 16 + 16
    assert found.logits_sqnr_db == pytest.approx(10 * math.log10(signal / noise))


def test_answers_are_not_counted_by_class_without_labels_or_with_very_many_classes() -> None:
    assert measure(EXACT, SWAPPED, [batch([RED], None)], 3).confusion == ()
    assert measure(EXACT, SWAPPED, [batch([RED], [0])], 3, use_labels=False).hits_float == ()
    many = classifier(np.ones((accuracy.MAX_TABLE_CLASSES + 1, 3), np.float32))
    assert measure(many, many, [batch([RED], [0])], accuracy.MAX_TABLE_CLASSES + 1).confusion == ()


def test_a_drop_is_in_points() -> None:
    found = measure(EXACT, SWAPPED, [batch([RED, BLUE], [0, 2])], 3)
    assert found.drop == pytest.approx(50)
    found = measure(SWAPPED, EXACT, [batch([RED, BLUE], [0, 2])], 3)
    assert found.drop == pytest.approx(-50)


def test_equal_models_have_no_noise() -> None:
    found = measure(EXACT, EXACT, [batch([RED], [0])], 3)
    assert found.logits_sqnr_db == math.inf
    assert found.agreement == 1
    silent = classifier(np.zeros((3, 3), np.float32))
    assert measure(silent, silent, [batch([RED], None)], 3).logits_sqnr_db == math.inf
    assert measure(silent, EXACT, [batch([RED], None)], 3).logits_sqnr_db == -math.inf


def test_without_labels_only_agreement_is_known() -> None:
    for batches in ([batch([RED], None)], [batch([RED], [0]), batch([GREEN], None)]):
        found = measure(EXACT, EXACT, batches, 3)
        assert found.agreement == 1
        assert (found.top1_float, found.top1_target, found.drop) == (None, None, None)


def test_what_cannot_be_measured() -> None:
    with pytest.raises(QuantError, match="no images"):
        measure(EXACT, EXACT, [], 3)
    with pytest.raises(QuantError, match="label 3 for a model of 3 classes"):
        measure(EXACT, EXACT, [batch([RED], [3])], 3)


def test_batches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert batch_size(EXACT) == 128
    assert batch_size(EXACT, 5) == 5
    for images, expected in ((10, 10), (1.5, 1), (0.5, 1)):
        monkeypatch.setattr(accuracy, "BATCH_BYTES", int(images * live_bytes(EXACT)))
        assert batch_size(EXACT) == expected


def test_labels_of_another_task_can_be_left_out() -> None:
    found = measure(EXACT, SWAPPED, [batch([RED, BLUE], [7, 9])], 3, use_labels=False)
    assert (found.top1_float, found.agreement) == (None, 0.5)
