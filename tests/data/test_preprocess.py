"""Geometry of the preprocessing, against values worked out by hand from timm's evaluation transform."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from edgevit.data import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from edgevit.data.decode import UnreadableImage
from edgevit.data.preprocess import geometry
from edgevit.errors import UsageError
from tests.data.pictures import gradient


def reference(
    image: Image.Image, resized: tuple[int, int], left: int, top: int, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """The picture resized to ``resized`` (width, height) by Pillow, then cut out at (left, top) by slicing."""
    return np.asarray(image.resize(resized, Image.Resampling.BICUBIC))[top : top + size[0], left : left + size[1]]


@pytest.mark.parametrize(
    ("image", "size", "crop_pct", "resized", "left", "top"),
    [
        (
            (500, 375),
            (224, 224),
            0.875,
            (341, 256),
            58,
            16,
        ),  # 256 * 500 / 375 = 341.33; (341 - 224) / 2 = 58.5, to even
        ((375, 500), (224, 224), 0.9, (248, 330), 12, 53),  # 224 / 0.9 = 248.9 rounds down; 248 * 500 / 375 = 330.7 too
        ((300, 300), (224, 224), 1.0, (224, 224), 0, 0),
        ((20, 10), (32, 32), 1.0, (64, 32), 16, 0),
        (
            (400, 200),
            (96, 160),
            0.8,
            (240, 120),
            40,
            12,
        ),  # not square: 400 / 200 and 200 / 120, the smaller ratio decides
    ],
)
def test_resize_and_crop_are_those_of_timm(
    image: tuple[int, int], size: tuple[int, int], crop_pct: float, resized: tuple[int, int], left: int, top: int
) -> None:
    picture = Image.fromarray(gradient(*image))
    found = np.asarray(Preprocess(size=size, crop_pct=crop_pct).apply(picture))
    assert np.array_equal(found, reference(picture, resized, left, top, size))


def test_a_picture_of_the_target_size_is_untouched() -> None:
    picture = Image.fromarray(gradient(20, 10))
    assert Preprocess(size=(10, 20), crop_pct=0.5).apply(picture) is picture


def test_the_interpolation_matters() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    bilinear, bicubic = (
        np.asarray(Preprocess(size=(8, 8), interpolation=kind).apply(picture)) for kind in ("bilinear", "bicubic")
    )
    assert not np.array_equal(bilinear, bicubic)
    assert np.array_equal(bilinear, np.asarray(picture.resize((8, 8), Image.Resampling.BILINEAR)))


@given(
    image=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    crop_pct=st.floats(0.3, 1.0),
)
def test_every_picture_comes_out_in_the_target_size(
    image: tuple[int, int], size: tuple[int, int], crop_pct: float
) -> None:
    picture = Image.new("RGB", image, (200, 100, 50))
    found = np.asarray(Preprocess(size=size, crop_pct=crop_pct).apply(picture))
    assert found.shape == (*size, 3)
    # A crop that reaches over the edge would bring in black.
    assert found.min() == 50


def test_a_thread_of_pixels_is_refused_before_it_is_blown_up() -> None:
    with pytest.raises(UnreadableImage, match="1x100000 pixels are too elongated"):
        Preprocess(size=(224, 224)).apply(Image.new("RGB", (1, 100_000)))


def test_defaults_are_those_of_imagenet() -> None:
    found = Preprocess(size=(224, 224))
    assert (found.mean, found.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert Preprocess.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    "values",
    [
        {"size": (0, 4)},
        {"size": (4, 5000)},
        {"size": (4, 4), "crop_pct": 0.0},
        {"size": (4, 4), "crop_pct": 1.1},
        {"size": (4, 4), "interpolation": "nearest"},
        {"size": (4, 4), "std": (1.0, 0.0, 1.0)},
        {"size": (4, 4), "mean": (1.0, float("nan"), 1.0)},
        {"size": (4, 4), "colour": "RGB"},
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Preprocess.model_validate(values)


def test_a_bad_geometry_is_a_usage_error_that_names_the_option() -> None:
    with pytest.raises(UsageError, match=r"calib: crop_pct: .*less than or equal to 1"):
        geometry((8, 8), 1.5, "bicubic", where="calib")
