"""What the embedded model loses as a full-int8 file, against PyTorch itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgevit.data import ImageSet, open_images
from edgevit.data.opening import EMBEDDED
from edgevit.embedded import PREPROCESS, load_model
from tests.conformance.compiled import Exported
from tests.tools import requires

pytestmark = requires("torch", "litert")

BATCH = 64


def predicted_by_torch(images: ImageSet) -> NDArray[np.int64]:
    """Classes that the float model predicts."""
    import torch

    model = load_model()
    mean, std = np.float32(PREPROCESS.mean), np.float32(PREPROCESS.std)
    found = []
    with torch.inference_mode():
        for batch in images.batches(500):
            pixels = (batch.images.astype(np.float32) / 255 - mean) / std
            found.append(model(torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())).argmax(1).numpy())
    return np.concatenate(found)


def compare(exported: Exported, images: ImageSet) -> tuple[float, float, float]:
    """Top-1 of the float model and of the file, and how often both agree, in percent."""
    exact = predicted_by_torch(images)
    answered, labels = [], []
    for batch in images.batches(BATCH):
        assert batch.labels is not None
        answered.append(exported.by_kernels(batch.images).argmax(1))
        labels.append(batch.labels)
    ours, truth = np.concatenate(answered), np.concatenate(labels)
    shares = 100 * (exact == truth).mean(), 100 * (ours == truth).mean(), 100 * (exact == ours).mean()
    print("top-1 float {:.2f} %, int8 {:.2f} %, agreement {:.2f} %".format(*shares), f"on {len(images)} images")
    return shares


def test_on_the_images_of_the_package(embedded: Exported) -> None:
    """1,000 images; what the export itself reports is the same."""
    images = open_images(EMBEDDED, size=PREPROCESS.size, purpose="evaluation")
    exact, ours, agreement = compare(embedded, images)
    assert exact > 75
    assert exact - ours <= 0.5
    assert agreement >= 97
    reported = embedded.compiled.accuracy
    assert reported.images == len(images) == 1000
    assert reported.top1_target == pytest.approx(ours / 100)
    assert reported.agreement == pytest.approx(agreement / 100, abs=0.002)


@requires("shared")
def test_on_all_test_images(embedded: Exported, shared_data: Path) -> None:
    """8,000 images that neither training nor calibration has seen."""
    images = open_images(str(shared_data / "cifar10-test.npz"), size=PREPROCESS.size, purpose="evaluation")
    exact, ours, agreement = compare(embedded, images)
    assert len(images) == 8000
    assert exact - ours <= 0.5
    assert agreement >= 97
