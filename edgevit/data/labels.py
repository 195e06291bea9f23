"""Labels of a folder of pictures: from a file ``labels.csv`` or ``labels.txt``, else from class folders."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from edgevit.errors import UsageError

LABEL_FILES: Final = ("labels.csv", "labels.txt")

_MAX_FILE_BYTES: Final = 64 * 2**20
_MAX_LABEL: Final = 2**31 - 1
_HINT: Final = "each line is `name,label`: a path below the folder, then a class index or a class name"


@dataclass(frozen=True)
class Labels:
    """``indices`` one class index per picture; ``classes`` their names, or None where the file gave bare indices."""

    indices: tuple[int, ...]
    classes: tuple[str, ...] | None


def find_labels(folder: Path, names: Sequence[str]) -> Labels | None:
    """Labels of the pictures ``names`` (paths below ``folder``, with slashes), or None where nothing gives them.

    A label file comes first. Else, where every picture lies in a first-level sub-folder, these are the classes,
    numbered in sorted order. Raises :class:`UsageError` for a label file that is malformed or does not name every
    picture.
    """
    for candidate in LABEL_FILES:
        if (folder / candidate).is_file():
            return _from_file(folder / candidate, names)
    parts = [PurePosixPath(name).parts for name in names]
    if not parts or any(len(part) < 2 for part in parts):
        return None
    return _numbered([part[0] for part in parts])


def _from_file(path: Path, names: Sequence[str]) -> Labels:
    table = _read(path)
    if missing := [name for name in names if name not in table]:
        what = f"{len(missing)} of {len(names)} images have no label, the first is {missing[0]}"
        raise UsageError(what, where=str(path), hint=_HINT)
    given = [table[name] for name in names]
    if all(label.isdecimal() for label in given):
        indices = tuple(int(label) if len(label) <= 10 else _MAX_LABEL + 1 for label in given)
        if max(indices, default=0) > _MAX_LABEL:
            raise UsageError(f"a class index exceeds {_MAX_LABEL}", where=str(path), hint=_HINT)
        return Labels(indices, None)
    return _numbered(given)


def _numbered(given: Sequence[str]) -> Labels:
    """Class names numbered in sorted order."""
    classes = {name: index for index, name in enumerate(sorted(set(given)))}
    return Labels(tuple(classes[label] for label in given), tuple(classes))


def _read(path: Path) -> dict[str, str]:
    """Label of each name in the file; a first line ``name,label`` is a heading."""
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise UsageError(f"larger than {_MAX_FILE_BYTES} bytes", where=str(path), hint=_HINT)
    table: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.reader(file), start=1):
                fields = [field.strip() for field in row]
                if not any(fields) or (number == 1 and fields == ["name", "label"]):
                    continue
                if len(fields) != 2 or not all(fields):
                    raise UsageError(f"line {number} has {len(fields)} fields", where=str(path), hint=_HINT)
                if table.setdefault(fields[0], fields[1]) != fields[1]:
                    raise UsageError(f"line {number} labels {fields[0]} a second time", where=str(path), hint=_HINT)
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise UsageError(f"cannot be read ({error})", where=str(path), hint=_HINT) from error
    return table
