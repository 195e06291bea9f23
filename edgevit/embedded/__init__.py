"""A trained Vision Transformer and its pictures, so that the main job needs no download.

The model classifies 32x32 RGB pictures into the ten classes of CIFAR-10; how it was trained is told in
``examples/README.md``. Files: ``weights.safetensors``; ``calibration.npz``, 256 pictures of the training set;
``evaluation.npz``, 1,000 of the test set. The latter two are made by ``examples/make_embedded_data.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgevit.data import ImageSet, Preprocess, open_images
from edgevit.data.opening import EMBEDDED, EMBEDDED_FILES

if TYPE_CHECKING:
    from edgevit.embedded.model import SmallViT

CLASSES: Final = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEAN: Final = (0.4914, 0.4822, 0.4465)
STD: Final = (0.2470, 0.2435, 0.2616)
PREPROCESS: Final = Preprocess(size=(32, 32), mean=MEAN, std=STD)
WEIGHTS: Final = EMBEDDED_FILES / "weights.safetensors"


def load_model() -> SmallViT:
    """The trained model in evaluation mode: float32 (S, 3, 32, 32), normalized by MEAN and STD, to logits (S, 10).

    Raises :class:`edgevit.errors.ToolNotFound` without torch, :class:`edgevit.errors.FrontendError` for a damaged
    weights file.
    """
    from edgevit.errors import ToolNotFound

    try:
        from edgevit.embedded.model import SmallViT, load_weights
    except ModuleNotFoundError as error:
        raise ToolNotFound(
            f"{error.name} is not installed", where=EMBEDDED, hint="pip install torch safetensors"
        ) from error
    model = SmallViT(classes=len(CLASSES))
    load_weights(model, WEIGHTS)
    return model.eval()


def calibration() -> ImageSet:
    """256 pictures of the training set, 25 or 26 of each class, with labels."""
    return open_images(EMBEDDED, size=PREPROCESS.size, purpose="calibration")


def evaluation() -> ImageSet:
    """1,000 pictures of the test set, 100 of each class, with labels."""
    return open_images(EMBEDDED, size=PREPROCESS.size, purpose="evaluation")
