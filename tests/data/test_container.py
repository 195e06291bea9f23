"""The .npz containers: both layouts, hostile contents, and byte-identical writing."""

from __future__ import annotations

import contextlib
import pickle
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from numpy.typing import NDArray
from PIL import Image

from edgevit.data import from_npz, write_jpegs
from edgevit.data.arrays import read_arrays, write_arrays
from edgevit.errors import UsageError
from tests.data.pictures import encoded, gradient, png, shades


def container(path: Path, **changes: Any) -> Path:
    """A container of three 8x8 pictures in two classes, with some of its arrays changed; None leaves one out."""
    files = [png(shade=shade) for shade in (10, 20, 30)]
    arrays: dict[str, Any] = {
        "jpeg": np.frombuffer(b"".join(files), np.uint8),
        "offsets": np.cumsum([0, *map(len, files)]),
        "labels": np.array([0, 1, 1]),
        "classes": np.array(["cat", "dog"]),
        **changes,
    }
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def header_only(path: Path, member: str, header: bytes, body: bytes = b"") -> Path:
    """An archive with one array of a hand-written header."""
    magic = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{member}.npy", magic + header + body)
    return path


def test_the_jpeg_container_gives_its_pictures(tmp_path: Path) -> None:
    images = from_npz(container(tmp_path / "set.npz"))
    batch = next(images.batches(3))
    assert batch.images.shape == (3, 8, 8, 3)
    assert shades(batch.images) == [10, 20, 30]
    assert batch.labels is not None
    assert batch.labels.tolist() == [0, 1, 1]
    assert images.classes == ("cat", "dog")
    assert batch.names == ("#0", "#1", "#2")


def test_pixels_give_their_pictures_and_are_resized_on_demand(tmp_path: Path) -> None:
    pixels = np.stack([gradient(6, 4), gradient(6, 4)[::-1]])
    np.savez_compressed(tmp_path / "set.npz", images=pixels, labels=np.array([3, 4], np.uint8))
    batch = next(from_npz(tmp_path / "set.npz").batches(2))
    assert np.array_equal(batch.images, pixels)
    assert batch.labels is not None
    assert batch.labels.dtype == np.int64
    assert batch.labels.tolist() == [3, 4]
    assert next(from_npz(tmp_path / "set.npz", size=(8, 8)).batches(2)).images.shape == (2, 8, 8, 3)


def test_fortran_order_means_the_same_pictures(tmp_path: Path) -> None:
    pixels = np.stack([gradient(6, 4)])
    np.savez(tmp_path / "set.npz", images=np.asfortranarray(pixels))
    assert np.array_equal(next(from_npz(tmp_path / "set.npz").batches(1)).images, pixels)


def test_the_default_size_is_that_of_the_first_good_picture(tmp_path: Path) -> None:
    files = [b"torn", encoded(Image.fromarray(gradient(9, 5))), png(8, 8)]
    write_jpegs(tmp_path / "set.npz", files, [0, 0, 0], ["thing"])
    images = from_npz(tmp_path / "set.npz")
    assert next(images.batches(3)).images.shape == (2, 5, 9, 3)
    assert images.skipped == [("#0", "not a PNG, JPEG, BMP, WEBP or GIF image")]


def test_a_limit_takes_so_many(tmp_path: Path) -> None:
    assert len(next(from_npz(container(tmp_path / "set.npz"), limit=2, seed=1).batches(9)).images) == 2


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"offsets": np.array([-1, 5, 9, 12])}, "reach from -1 to 12, outside"),
        ({"offsets": np.array([0, 5, 9, 10**6])}, "to 1000000, outside"),
        ({"offsets": np.array([0, 5, 9, 2**64 - 1], np.uint64)}, "to 18446744073709551615, outside"),
        ({"offsets": np.array([0, 9, 5, 12])}, "`offsets` fall after entry 1"),
        ({"offsets": np.array([0.0, 5.0])}, "`offsets` is float64"),
        ({"offsets": np.zeros(0, np.int64)}, r"`offsets` is int64 \(0,\)"),
        ({"offsets": np.zeros(1, np.int64), "labels": None}, "holds no images"),
        ({"offsets": None}, "holds jpeg, labels, classes of the arrays"),
        ({"jpeg": np.zeros((4, 4), np.uint8)}, r"`jpeg` is uint8 \(4, 4\)"),
        ({"jpeg": np.zeros(400, np.float32)}, "`jpeg` is float32"),
        ({"labels": np.array([0, 1])}, r"`labels` is int64 \(2,\), not integers \(3,\)"),
        ({"labels": np.array([0, 1, 2])}, "from 0 to 2, outside 0 to 1"),
        ({"labels": np.array([0, 1, -1])}, "from -1 to 1, outside 0 to 1"),
        ({"labels": np.array([0, 1, 2**40]), "classes": None}, "outside 0 to 2147483647"),
        ({"labels": np.array([0.0, 1.0, 1.0])}, "`labels` is float64"),
        ({"classes": np.array([1, 2])}, "`classes` is int64"),
    ],
)
def test_contents_out_of_range_are_usage_errors(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        from_npz(container(tmp_path / "set.npz", **changes))
    assert caught.value.exit_code == 2
    assert caught.value.hint


@pytest.mark.parametrize(
    ("images", "what"),
    [
        (np.zeros((2, 4, 4, 3), np.float32), "`images` is float32"),
        (np.zeros((2, 4, 4), np.uint8), r"not uint8 \(N, H, W, 3\)"),
        (np.zeros((2, 3, 4, 4), np.uint8), r"not uint8 \(N, H, W, 3\)"),
        (np.zeros((2, 0, 4, 3), np.uint8), r"not uint8 \(N, H, W, 3\)"),
        (np.zeros((0, 4, 4, 3), np.uint8), "holds no images"),
    ],
)
def test_pixels_of_another_form_are_usage_errors(tmp_path: Path, images: NDArray[Any], what: str) -> None:
    np.savez(tmp_path / "set.npz", images=images)
    with pytest.raises(UsageError, match=what):
        from_npz(tmp_path / "set.npz")


def test_all_pictures_torn_is_a_usage_error(tmp_path: Path) -> None:
    write_jpegs(tmp_path / "set.npz", [b"torn", b""], [0, 0], ["thing"])
    with pytest.raises(UsageError, match="none of its 2 images can be read; first: #0: not a PNG"):
        from_npz(tmp_path / "set.npz")


class Trap:
    """Its pickle creates a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_pickles_are_refused_unopened(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    np.savez(tmp_path / "objects.npz", images=np.array([Trap(sprung)], object))
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Trap(sprung)))
    for name, what in (("objects.npz", "pickled Python objects"), ("pickle.npz", r"not an intact \.npz archive")):
        with pytest.raises(UsageError, match=what):
            from_npz(tmp_path / name)
    assert not sprung.exists()


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776, 32, 32, 3)}\n",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (-1, -8, 8, 3)}\n",
        b"{'descr': '|V0', 'fortran_order': False, 'shape': (1099511627776,)}\n",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (4, 4, 4, 3)}\n",
        b"{'descr': '|u1', 'fortran_order': False}\n",
        b"{'descr': 'no type', 'fortran_order': False, 'shape': (1,)}\n",
        b"(" * 5000,
        b"\xff" * 20,
        b"",
    ],
)
def test_a_header_that_lies_is_refused_without_memory(tmp_path: Path, header: bytes) -> None:
    path = header_only(tmp_path / "set.npz", "images", header, bytes(64))
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match=r"set\.npz: "):
            from_npz(path)
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()


def test_a_compressed_bomb_is_refused_from_its_entry(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "set.npz", images=np.zeros((40, 100, 100, 3), np.uint8))
    with pytest.raises(UsageError, match=r"images\.npy holds 1200128 bytes, above the limit of 1000000"):
        read_arrays(tmp_path / "set.npz", ["images"], max_bytes=1_000_000)


def test_a_missing_file_and_a_truncated_one_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        from_npz(tmp_path / "none.npz")
    whole = container(tmp_path / "set.npz").read_bytes()
    (tmp_path / "set.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match=r"not an intact \.npz archive"):
        from_npz(tmp_path / "set.npz")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_archives_give_pictures_or_a_usage_error(tmp_path: Path, data: st.DataObject) -> None:
    path = container(tmp_path / "set.npz")
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(damaged[: data.draw(st.integers(0, len(damaged)) | st.just(len(damaged)))]))
    expect_pictures_or_usage_error(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.dictionaries(
        st.sampled_from(["jpeg", "offsets", "labels", "classes", "images"]),
        st.one_of(
            st.none(),
            nps.arrays(
                nps.integer_dtypes()
                | nps.unsigned_integer_dtypes()
                | nps.floating_dtypes()
                | nps.unicode_string_dtypes(),
                nps.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
            ),
        ),
        min_size=1,
    )
)
def test_any_arrays_give_pictures_or_a_usage_error(tmp_path: Path, changes: dict[str, Any]) -> None:
    expect_pictures_or_usage_error(container(tmp_path / "set.npz", **changes))


def expect_pictures_or_usage_error(path: Path) -> None:
    with contextlib.suppress(UsageError):
        images = from_npz(path)
        batches = list(images.batches(2))
        assert sum(len(batch.images) for batch in batches) == len(images) >= 1


def test_writing_is_byte_identical_and_keeps_the_files(tmp_path: Path) -> None:
    files = [png(shade=1), png(shade=2)]
    for name in ("first.npz", "second.npz"):
        write_jpegs(tmp_path / name, files, [1, 0], ["cat", "dog"])
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()
    with np.load(tmp_path / "first.npz", allow_pickle=False) as archive:
        assert archive["jpeg"].tobytes() == b"".join(files)
        assert archive["offsets"].tolist() == [0, len(files[0]), len(files[0]) + len(files[1])]
        assert archive["labels"].tolist() == [1, 0]
        assert archive["classes"].tolist() == ["cat", "dog"]
    with pytest.raises(ValueError, match="2 files, but 1 labels"):
        write_jpegs(tmp_path / "third.npz", files, [1], ["cat", "dog"])


def test_many_classes_fit_in_the_labels(tmp_path: Path) -> None:
    names = [f"class {number}" for number in range(1000)]
    write_jpegs(tmp_path / "set.npz", [png()], [999], names)
    labels = next(from_npz(tmp_path / "set.npz").batches(1)).labels
    assert labels is not None
    assert labels.tolist() == [999]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_arrays(tmp_path / "set.npz", {"x": np.arange(3)})
    before = (tmp_path / "set.npz").read_bytes()
    with pytest.raises(ValueError, match="Object arrays"):
        write_arrays(tmp_path / "set.npz", {"x": np.arange(4), "y": np.array([None])})
    assert (tmp_path / "set.npz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["set.npz"]


@given(
    st.dictionaries(
        st.text("abc", min_size=1, max_size=3),
        nps.arrays(nps.scalar_dtypes(), nps.array_shapes(min_dims=0, max_dims=3, min_side=0)),
        max_size=3,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_arrays_survive_writing_and_reading(tmp_path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    write_arrays(tmp_path / "set.npz", arrays)
    found = read_arrays(tmp_path / "set.npz", list(arrays))
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def test_an_absent_array_is_left_out(tmp_path: Path) -> None:
    write_arrays(tmp_path / "set.npz", {"x": np.arange(3)})
    assert list(read_arrays(tmp_path / "set.npz", ["x", "y"])) == ["x"]


def test_an_unknown_format_version_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x09\x00" + bytes(100))
    with pytest.raises(UsageError, match="unknown format version"):
        from_npz(tmp_path / "set.npz")
