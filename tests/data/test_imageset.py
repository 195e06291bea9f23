"""Iteration, sub-sets, digests and warnings of image sets."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgevit.data import ImageSet, Preprocess, shuffled
from edgevit.data.decode import UnreadableImage
from edgevit.errors import UsageError
from tests.data.pictures import shades


class GraySource:
    """One-coloured pictures; None stands for one that cannot be read. ``decoded`` counts how often each was decoded."""

    def __init__(self, shades: Sequence[int | None]) -> None:
        self.shades = shades
        self.decoded = [0] * len(shades)

    def __len__(self) -> int:
        return len(self.shades)

    def name(self, index: int) -> str:
        return f"{index}.png"

    def encoded(self, index: int) -> bytes:
        return f"shade {self.shades[index]}".encode()

    def picture(self, index: int) -> Image.Image:
        self.decoded[index] += 1
        shade = self.shades[index]
        if shade is None:
            raise UnreadableImage("torn")
        return Image.new("RGB", (4, 4), (shade, shade, shade))


def images_of(*shades: int | None, labels: Sequence[int] | None = None) -> ImageSet:
    return ImageSet(GraySource(shades), Preprocess(size=(4, 4)), origin="here", labels=labels)


def given_by(images: ImageSet, size: int = 3) -> list[int]:
    return [shade for batch in images.batches(size) for shade in shades(batch.images)]


def test_batches_are_full_but_the_last_and_carry_names_and_labels() -> None:
    batches = list(images_of(10, 20, None, 40, labels=[7, 8, 9, 6]).batches(2))
    assert [batch.images.shape for batch in batches] == [(2, 4, 4, 3), (1, 4, 4, 3)]
    assert [batch.images.dtype for batch in batches] == [np.uint8, np.uint8]
    assert [shades(batch.images) for batch in batches] == [[10, 20], [40]]
    assert [batch.labels.tolist() for batch in batches if batch.labels is not None] == [[7, 8], [6]]
    assert [batch.names for batch in batches] == [("0.png", "1.png"), ("3.png",)]


def test_without_labels_batches_have_none() -> None:
    images = images_of(1, 2)
    assert not images.labelled
    assert next(images.batches(2)).labels is None


def test_opening_decodes_no_further_than_the_first_good_picture() -> None:
    source = GraySource([None, 1, 2, 3])
    ImageSet(source, Preprocess(size=(4, 4)), origin="here")
    assert source.decoded == [1, 1, 0, 0]


def test_length_becomes_exact_and_skips_are_listed_in_order() -> None:
    images = images_of(1, None, 3, None)
    assert (len(images), images.skipped) == (4, [])
    assert given_by(images) == [1, 3]
    assert len(images) == 2
    assert images.skipped == [("1.png", "torn"), ("3.png", "torn")]


def test_a_second_pass_gives_the_same_and_tries_no_bad_picture_again() -> None:
    source = GraySource([1, None, 3])
    images = ImageSet(source, Preprocess(size=(4, 4)), origin="here")
    assert given_by(images) == given_by(images) == [1, 3]
    assert source.decoded[1] == 1


@pytest.mark.parametrize(
    ("shades", "what"),
    [((), "holds no images"), ((None, None), "none of its 2 images can be read; first: 0.png: torn")],
)
def test_a_set_without_a_good_picture_is_a_usage_error(shades: tuple[int | None, ...], what: str) -> None:
    with pytest.raises(UsageError, match=f"here: {what}\nhint: .+") as caught:
        images_of(*shades)
    assert caught.value.exit_code == 2


def test_labels_of_another_length_are_refused() -> None:
    with pytest.raises(UsageError, match="2 images, but labels of shape"):
        images_of(1, 2, labels=[0])


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_holds_at_least_one_image(size: int) -> None:
    with pytest.raises(UsageError, match="batch size"):
        next(images_of(1).batches(size))


@given(st.lists(st.one_of(st.none(), st.integers(0, 255)), min_size=1).filter(any), st.integers(1, 60), st.integers())
def test_take_gives_so_many_good_pictures_or_all(values: list[int | None], count: int, seed: int) -> None:
    good = [value for value in values if value is not None]
    subset = images_of(*values).take(count, seed)
    found = given_by(subset)
    assert len(found) == len(subset) == min(count, len(good))
    remaining = list(good)
    for shade in found:
        remaining.remove(shade)
    assert found == given_by(images_of(*values).take(count, seed))


def test_take_depends_on_the_seed_and_leaves_the_whole_alone() -> None:
    images = images_of(*range(50))
    first, second = given_by(images.take(10, seed=1)), given_by(images.take(10, seed=2))
    assert first != second
    assert given_by(images) == list(range(50))


def test_taking_from_a_taken_set_stays_within_it() -> None:
    taken = images_of(*range(50)).take(10, seed=3)
    assert set(given_by(taken.take(5, seed=4))) < set(given_by(taken))


def test_take_keeps_labels_with_their_pictures() -> None:
    subset = images_of(*range(50), labels=list(range(100, 150))).take(20, seed=5)
    for batch in subset.batches(7):
        assert batch.labels is not None
        assert [shade + 100 for shade in shades(batch.images)] == batch.labels.tolist()


def test_take_of_none_is_refused() -> None:
    with pytest.raises(UsageError, match="0 images asked for"):
        images_of(1).take(0)


def test_the_shuffle_is_a_fixed_permutation() -> None:
    # Written down, because bundles made on other machines and Python versions have to agree.
    assert shuffled(10, 0) == [3, 7, 5, 2, 8, 4, 9, 1, 6, 0]
    assert sorted(shuffled(1000, 7)) == list(range(1000))


def test_the_digest_tells_content_order_labels_and_geometry_apart() -> None:
    sets = [
        images_of(1, 2),
        images_of(2, 1),
        images_of(1, 2, 3),
        images_of(1, 2, labels=[0, 1]),
        images_of(1, 2, labels=[1, 0]),
        ImageSet(GraySource([1, 2]), Preprocess(size=(4, 5)), origin="here"),
    ]
    digests = [images.sha256() for images in sets]
    assert all(first != second for first, second in itertools.combinations(digests, 2))


def test_the_digest_is_of_the_good_pictures_and_the_same_before_and_after_a_pass() -> None:
    images = images_of(1, None, 3)
    before = images.sha256()
    given_by(images)
    assert before == images.sha256() == images_of(1, 3).sha256()


def test_warnings_count_and_name_what_was_skipped() -> None:
    images = images_of(1, None, 2, None, None, None)
    assert images.warnings("calibration") == []
    given_by(images)
    named = ", ".join(f"{index}.png (torn)" for index in (1, 3, 4))
    assert images.warnings("calibration") == [f"here: 4 unreadable images skipped: {named} and 1 more"]


def test_one_picture_works_with_a_warning() -> None:
    images = images_of(9)
    assert given_by(images) == [9]
    assert images.warnings("calibration") == ["1 calibration image: ranges will be narrow"]
    assert images.warnings("evaluation") == ["1 evaluation image: accuracy will mean little"]


def test_fewer_pictures_than_asked_for_are_a_warning() -> None:
    images = images_of(1, 2).take(5)
    assert images.warnings("calibration") == ["here: 5 calibration images asked for, 2 found"]
