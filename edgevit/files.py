"""Writing files and folders so that they appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgevit.errors import BundleError

MARKER = "manifest.json"
"""The file by which a folder is recognised as a bundle that may be replaced."""


def check_destination(path: Path, *, force: bool) -> None:
    """Raise BundleError when a bundle cannot be written at ``path``, before any work is done.

    An existing folder is replaced only with ``force``, and only when it is empty or itself a bundle.
    """
    parent = path.absolute().parent
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise BundleError("is not a folder", where=str(path), hint="choose another folder with -o")
    if path.is_dir() and any(path.iterdir()):
        if not (path / MARKER).is_file():
            raise BundleError("holds files that are no bundle", where=str(path), hint="choose another folder with -o; nothing was touched")
        if not force:
            raise BundleError("holds a bundle already", where=str(path), hint="choose another folder with -o, or replace it with --force")
    existing = parent
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise BundleError("cannot be written", where=str(existing), hint="choose a folder that you may write to with -o")


@contextlib.contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside ``path`` that takes its place when the block ends well and vanishes when it does not.

    Raises BundleError where the file system refuses (read-only, full).
    """
    path = path.absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    except OSError as error:
        raise BundleError(f"cannot be written: {error.strerror}", where=str(path), hint="choose another folder with -o") from error
    try:
        yield temporary
        temporary.chmod(0o755)
        _swap(temporary, path)
    except OSError as error:
        raise BundleError(f"cannot be written: {error.strerror}", where=str(path), hint="free some space or choose another folder with -o") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _swap(new: Path, path: Path) -> None:
    """Move ``new`` to ``path``; what was there is put aside first and comes back if that fails."""
    if not path.exists():
        new.rename(path)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".old", dir=path.parent))
    path.rename(aside / path.name)
    try:
        new.rename(path)
    except OSError:
        (aside / path.name).rename(path)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
