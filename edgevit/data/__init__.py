"""Pictures for calibration and evaluation: uint8 RGB of the model's input size, from folders, .npz archives or files.

They are not normalized: mean and std belong to the graph.
"""

from __future__ import annotations

from edgevit.data.container import from_npz, write_jpegs
from edgevit.data.folder import from_file, from_folder
from edgevit.data.imageset import Batch, ImageSet, Purpose, shuffled
from edgevit.data.opening import open_images
from edgevit.data.preprocess import IMAGENET_MEAN, IMAGENET_STD, Interpolation, Preprocess

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Batch",
    "ImageSet",
    "Interpolation",
    "Preprocess",
    "Purpose",
    "from_file",
    "from_folder",
    "from_npz",
    "open_images",
    "shuffled",
    "write_jpegs",
]
