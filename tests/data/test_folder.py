"""Folders of pictures: what is found, in which order, with which labels, and what is passed over."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgevit.data import ImageSet, folder, from_file, from_folder, labels, open_images
from edgevit.errors import UsageError
from tests.data.pictures import encoded, png, shades, write

SIZE = (8, 8)


def names_of(images: ImageSet) -> list[str]:
    return [name for batch in images.batches(4) for name in batch.names]


def labels_of(images: ImageSet) -> dict[str, int]:
    found: dict[str, int] = {}
    for batch in images.batches(4):
        assert batch.labels is not None
        found |= dict(zip(batch.names, batch.labels.tolist(), strict=True))
    return found


def test_pictures_are_found_in_sub_folders_sorted_whatever_their_suffix(tmp_path: Path) -> None:
    image = Image.new("RGB", SIZE)
    kinds = {"PNG": "png", "JPEG": "JPG", "BMP": "bmp", "WEBP": "webp", "GIF": "Gif"}
    files: dict[str, bytes | str] = {f"b/c/x.{suffix}": encoded(image, kind) for kind, suffix in kinds.items()}
    others: dict[str, bytes | str] = {
        "a.jpeg": encoded(image, "JPEG"),
        "notes.txt": "no picture",
        ".hidden.png": png(),
        ".cache/x.png": png(),
    }
    images = from_folder(write(tmp_path, files | others), size=SIZE)
    assert names_of(images) == sorted([*files, "a.jpeg"])
    assert not images.labelled
    assert images.skipped == []


def test_corrupt_pictures_among_good_ones_are_skipped_and_reported(tmp_path: Path) -> None:
    write(tmp_path, {"1.png": png(), "2.png": png()[:50], "3.jpg": "text", "4.png": png(), "5.png": b""})
    os.mkfifo(tmp_path / "6.png")
    (tmp_path / "7.png").symlink_to(tmp_path / "gone.png")
    images = from_folder(tmp_path, size=SIZE)
    assert names_of(images) == ["1.png", "4.png"]
    reasons = dict(images.skipped)
    assert reasons["2.png"].startswith("damaged")
    assert reasons["3.jpg"].startswith("not a PNG")
    assert reasons["5.png"] == "the file is empty"
    assert reasons["6.png"] == "not a regular file"
    assert reasons["7.png"] == "No such file or directory"
    assert "5 unreadable images skipped" in images.warnings("calibration")[0]


def test_all_corrupt_is_a_usage_error(tmp_path: Path) -> None:
    write(tmp_path, {"1.png": "text", "2.png": b""})
    with pytest.raises(UsageError, match=r"none of its 2 images can be read; first: 1\.png: not a PNG"):
        from_folder(tmp_path, size=SIZE)


@pytest.mark.parametrize("files", [{}, {"notes.txt": "x"}])
def test_no_picture_at_all_is_a_usage_error(tmp_path: Path, files: dict[str, bytes | str]) -> None:
    with pytest.raises(UsageError, match=r"holds no images\nhint: .*\.png"):
        from_folder(write(tmp_path, files), size=SIZE)


def test_links_that_lead_in_circles_end(tmp_path: Path) -> None:
    write(tmp_path, {"a/1.png": png(), "a/b/2.png": png()})
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path / "a")
    (tmp_path / "top").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert names_of(from_folder(tmp_path, size=SIZE)) == ["a/1.png", "a/b/2.png"]


def test_linked_folders_are_followed(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", {"1.png": png()})
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "cats").symlink_to(tmp_path / "elsewhere")
    assert names_of(from_folder(tmp_path / "set", size=SIZE)) == ["cats/1.png"]


def test_a_folder_that_cannot_be_listed_is_no_smaller_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"1.png": png(), "locked/2.png": png()})
    scandir = os.scandir

    def guarded(path: str | Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(UsageError, match=r"locked: cannot be listed \(Permission denied\)"):
        from_folder(tmp_path, size=SIZE)


def test_files_above_the_limit_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"1.png": png(), "2.png": png() + bytes(1000)})
    monkeypatch.setattr(folder, "MAX_FILE_BYTES", 900)
    images = from_folder(tmp_path, size=SIZE)
    assert names_of(images) == ["1.png"]
    assert images.skipped[0][1].endswith("exceed the limit of 900")


def test_names_that_are_not_text_can_be_printed(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(png())
    assert names_of(from_folder(tmp_path, size=SIZE)) == ["\\udcff.png"]


def test_class_folders_give_labels_in_sorted_order(tmp_path: Path) -> None:
    images = from_folder(write(tmp_path, {"n02/1.png": png(), "n01/2.png": png(), "n02/x/3.png": png()}), size=SIZE)
    assert labels_of(images) == {"n01/2.png": 0, "n02/1.png": 1, "n02/x/3.png": 1}
    assert images.classes == ("n01", "n02")


def test_a_picture_outside_the_class_folders_means_no_labels(tmp_path: Path) -> None:
    assert not from_folder(write(tmp_path, {"n02/1.png": png(), "2.png": png()}), size=SIZE).labelled


@pytest.mark.parametrize("file", labels.LABEL_FILES)
def test_a_label_file_with_indices_comes_before_class_folders(tmp_path: Path, file: str) -> None:
    table = "\ufeffname,label\r\na/1.png,207\r\n\r\nb/2.png, 3\r\nnot there.png,1\r\n"
    images = from_folder(write(tmp_path, {"a/1.png": png(), "b/2.png": png(), file: table}), size=SIZE)
    assert labels_of(images) == {"a/1.png": 207, "b/2.png": 3}
    assert images.classes is None


def test_a_label_file_with_names_numbers_the_classes(tmp_path: Path) -> None:
    table = '1.png,dog\n2.png,"cat, black"\n3.png,dog\n'
    images = from_folder(
        write(tmp_path, {"1.png": png(), "2.png": png(), "3.png": png(), "labels.csv": table}), size=SIZE
    )
    assert labels_of(images) == {"1.png": 1, "2.png": 0, "3.png": 1}
    assert images.classes == ("cat, black", "dog")


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ("1.png,3\n", "1 of 2 images have no label, the first is 2.png"),
        ("1.png\n2.png\n", "line 1 has 1 fields"),
        ("1.png,\n", "line 1 has 2 fields"),
        ("1.png,1\n2.png,0\n1.png,2\n", "line 3 labels 1.png a second time"),
        ("1.png,99999999999999999999999\n2.png,0\n", "a class index exceeds 2147483647"),
        (b"\xff\xfe\x00", "cannot be read"),
        ('1.png,"' + "x" * 200_000, "cannot be read"),
    ],
)
def test_a_bad_label_file_is_a_usage_error(tmp_path: Path, table: bytes | str, what: str) -> None:
    write(tmp_path, {"1.png": png(), "2.png": png(), "labels.csv": table})
    with pytest.raises(UsageError, match=what) as caught:
        from_folder(tmp_path, size=SIZE)
    assert "name,label" in caught.value.hint


def test_a_huge_label_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "_MAX_FILE_BYTES", 10)
    with pytest.raises(UsageError, match="larger than 10 bytes"):
        from_folder(write(tmp_path, {"1.png": png(), "labels.txt": "1.png,12345"}), size=SIZE)


def test_a_limit_is_spread_over_the_classes(tmp_path: Path) -> None:
    write(tmp_path, {f"{name}/{number}.png": png() for name in "ab" for number in range(20)})
    found = labels_of(from_folder(tmp_path, size=SIZE, limit=16))
    assert len(found) == 16
    assert 3 <= sum(found.values()) <= 13


def test_geometry_reaches_the_pictures(tmp_path: Path) -> None:
    write(tmp_path, {"1.png": png(40, 30)})
    plain = next(from_folder(tmp_path, size=(10, 12)).batches(1)).images
    closer = next(from_folder(tmp_path, size=(10, 12), crop_pct=0.5).batches(1)).images
    bilinear = next(from_folder(tmp_path, size=(10, 12), interpolation="bilinear").batches(1)).images
    assert plain.shape == closer.shape == bilinear.shape == (1, 10, 12, 3)
    assert not np.array_equal(plain, closer)
    assert not np.array_equal(plain, bilinear)
    with pytest.raises(UsageError, match="size"):
        from_folder(tmp_path, size=(0, 12))


def test_one_file_is_a_set_of_one(tmp_path: Path) -> None:
    write(tmp_path, {"picture.dat": png(shade=9)})
    images = from_file(tmp_path / "picture.dat", size=SIZE)
    batch = next(images.batches(8))
    assert (shades(batch.images), batch.names, batch.labels) == ([9], ("picture.dat",), None)
    assert images.warnings("calibration") == ["1 calibration image: ranges will be narrow"]


def test_open_images_tells_the_kinds_apart(tmp_path: Path) -> None:
    write(tmp_path, {"set/1.png": png(shade=1), "2.png": png(shade=2)})
    np.savez(tmp_path / "3.npz", images=np.full((1, 8, 8, 3), 3, np.uint8))
    found = [
        shades(next(open_images(str(tmp_path / name), size=SIZE, limit=1).batches(1)).images)
        for name in ("set", "2.png", "3.npz")
    ]
    assert found == [[1], [2], [3]]


def test_open_images_refuses_what_is_not_there_or_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none: does not exist\nhint: give `embedded`") as caught:
        open_images(str(tmp_path / "none"), size=SIZE)
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match="does not exist"):
        open_images(str(tmp_path / "none.npz"), size=SIZE)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UsageError, match="neither a folder nor a regular file"):
        open_images(str(tmp_path / "pipe.png"), size=SIZE)
