"""Writing files and folders so that they appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgevit.errors import BundleError, UsageError

MARKER = "manifest.json"
"""The file by which a folder is recognised as a bundle that may be replaced."""

ELSEWHERE = "choose another folder with -o"


def check_destination(path: Path, *, force: bool) -> None:
    """Raise BundleError when a bundle cannot be written at ``path``, before any work is done.

    An existing folder is replaced only with ``force``, and only when it is empty or itself a bundle.
    """
    path = path.absolute()
    try:
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise BundleError("is not a folder", where=str(path), hint=ELSEWHERE)
        if path.is_dir() and any(path.iterdir()):
            if not (path / MARKER).is_file():
                hint = f"{ELSEWHERE}; nothing was touched"
                raise BundleError("holds files that are no bundle", where=str(path), hint=hint)
            if not force:
                hint = f"{ELSEWHERE}, or replace it with --force"
                raise BundleError("holds a bundle already", where=str(path), hint=hint)
        existing = next(folder for folder in path.parents if folder.exists())
        # Permissions do not tell: root may write everywhere but on /proc or a read-only file system.
        _temporary_folder(path.name, existing).rmdir()
    except OSError as error:
        raise _refused(path, error, ELSEWHERE) from error


@contextlib.contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside ``path`` that takes its place when the block ends well and vanishes when it does not.

    Parents of ``path`` that had to be made vanish with it. Raises BundleError where the file system refuses
    (read-only, full).
    """
    path = path.absolute()
    with contextlib.ExitStack() as undo:
        try:
            missing = [folder for folder in path.parents if not folder.exists()]
            for folder in reversed(missing):
                folder.mkdir()
                undo.callback(_remove_if_empty, folder)
            temporary = _temporary_folder(path.name, path.parent)
        except OSError as error:
            raise _refused(path, error, ELSEWHERE) from error
        undo.callback(shutil.rmtree, temporary, ignore_errors=True)
        try:
            yield temporary
            temporary.chmod(0o755)
            _swap(temporary, path)
        except OSError as error:
            raise _refused(path, error, "free some space or choose another folder with -o") from error


def write_whole(path: Path, text: str) -> None:
    """Write ``text`` as the UTF-8 file ``path``, whole or not at all; a file that was there is replaced.

    Raises UsageError where the file system refuses.
    """
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        hint = "choose a folder that exists and is writable"
        raise UsageError(f"cannot be written: {error}", where=str(path), hint=hint) from error
    finally:
        if temporary:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def _temporary_folder(name: str, parent: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".partial", dir=parent))


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _refused(path: Path, error: OSError, hint: str) -> BundleError:
    return BundleError(f"cannot be written: {error.strerror or error}", where=str(path), hint=hint)


def _swap(new: Path, path: Path) -> None:
    """Move ``new`` to ``path``; what was there is put aside first and comes back if that fails or is interrupted."""
    if not path.exists():
        new.rename(path)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".old", dir=path.parent))
    old = aside / path.name
    try:
        path.rename(old)
        new.rename(path)
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(aside, ignore_errors=True)
