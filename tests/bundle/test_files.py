"""Folders appear whole or not at all, whatever ends the writing."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from edgevit.errors import BundleError
from edgevit.files import MARKER, check_destination, replaced_folder


def write(path: Path, content: str = "new") -> None:
    with replaced_folder(path) as folder:
        (folder / MARKER).write_text(content)


def break_off(path: Path, error: BaseException, neighbour: Path | None = None) -> None:
    """Begin a folder, and perhaps put something beside its parent; then ``error`` is raised."""
    with replaced_folder(path) as folder:
        (folder / "half").write_text("x")
        if neighbour is not None:
            neighbour.write_text("someone else's")
        raise error


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_a_new_folder_with_its_parents(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b" / "bundle")
    assert (tmp_path / "a" / "b" / "bundle" / MARKER).read_text() == "new"
    assert names(tmp_path / "a" / "b") == ["bundle"]
    assert stat.S_IMODE((tmp_path / "a" / "b" / "bundle").stat().st_mode) == 0o755


def test_an_old_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "left.txt").write_text("old")
    write(path)
    assert names(path) == [MARKER]
    assert names(tmp_path) == ["bundle"]


def test_paths_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with replaced_folder(Path("bundle")) as folder:
        monkeypatch.chdir("/")
        (folder / MARKER).write_text("new")
    assert (tmp_path / "bundle" / MARKER).is_file()


@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_of_a_block_that_fails(tmp_path: Path, raised: type[BaseException]) -> None:
    old = tmp_path / "old"
    write(old, "old")
    for path in (old, tmp_path / "new" / "bundle"):
        with pytest.raises(raised):
            break_off(path, raised())
    assert names(tmp_path) == ["old"]
    assert (old / MARKER).read_text() == "old"


def test_parents_that_hold_something_stay(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"):
        break_off(tmp_path / "a" / "b" / "bundle", ValueError("stop"), neighbour=tmp_path / "a" / "other")
    assert names(tmp_path / "a") == ["other"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_file_system_that_refuses(tmp_path: Path, code: int) -> None:
    with pytest.raises(BundleError) as caught, replaced_folder(tmp_path / "bundle"):
        raise OSError(code, os.strerror(code))
    assert caught.value.where == str(tmp_path / "bundle")
    assert caught.value.what == f"cannot be written: {os.strerror(code)}"
    assert caught.value.hint
    assert names(tmp_path) == []


@pytest.mark.parametrize("raised", [OSError(errno.EIO, "I/O error"), KeyboardInterrupt()])
@pytest.mark.parametrize("failing", [1, 2])
def test_the_old_folder_comes_back_when_the_exchange_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException, failing: int
) -> None:
    """Putting the old one aside is the first move, bringing in the new one the second."""
    path = tmp_path / "bundle"
    write(path, "old")
    moves: list[Path] = []
    rename = Path.rename

    def move(source: Path, target: Path) -> Path:
        moves.append(source)
        if len(moves) == failing:
            raise raised
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", move)
    expected = BundleError if isinstance(raised, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        write(path)
    assert len(moves) >= failing
    assert (path / MARKER).read_text() == "old"
    assert names(tmp_path) == ["bundle"]


def check(path: Path, force: bool = False) -> str:
    """The complaint about a destination; empty where there is none."""
    before = names(path.parent) if path.parent.is_dir() else []
    complaint = ""
    try:
        check_destination(path, force=force)
    except BundleError as error:
        complaint = str(error)
    assert (names(path.parent) if path.parent.is_dir() else []) == before
    assert complaint == "" or "\nhint: " in complaint
    return complaint


def test_destinations(tmp_path: Path) -> None:
    assert check(tmp_path / "new") == ""
    assert check(tmp_path / "a" / "b" / "new") == ""
    (tmp_path / "empty").mkdir()
    assert check(tmp_path / "empty") == ""
    write(tmp_path / "bundle")
    assert "holds a bundle already" in check(tmp_path / "bundle")
    assert check(tmp_path / "bundle", force=True) == ""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "x").touch()
    for force in (False, True):
        assert "holds files that are no bundle" in check(tmp_path / "files", force)
        assert "is not a folder" in check(tmp_path / "files" / "x", force)
        assert "cannot be written" in check(tmp_path / "files" / "x" / "y", force)
    assert names(tmp_path) == ["bundle", "empty", "files"]


def test_links_are_not_replaced(tmp_path: Path) -> None:
    write(tmp_path / "bundle")
    (tmp_path / "link").symlink_to(tmp_path / "bundle")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("link", "dangling"):
        assert "is not a folder" in check(tmp_path / name, force=True)


def test_places_that_even_root_cannot_write(tmp_path: Path) -> None:
    assert "/proc/bundle: cannot be written" in check(Path("/proc/bundle"))
    assert "/proc/a/b: cannot be written" in check(Path("/proc/a/b"))
    assert "File name too long" in check(tmp_path / ("x" * 300))
    with pytest.raises(BundleError, match="/proc/bundle"), replaced_folder(Path("/proc/bundle")):
        pytest.fail("there is no folder to write to")
