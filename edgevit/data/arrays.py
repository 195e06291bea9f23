"""Reading .npz archives that nobody vouches for, and writing them so that equal arrays give equal bytes."""

from __future__ import annotations

import io
import math
import os
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from edgevit.errors import UsageError

MAX_ARRAY_BYTES: Final = 2 * 2**30

_MAX_HEADER_BYTES: Final = 16 * 2**10
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_UNIX: Final = 3
_NPY: Final[Any] = np.lib.format  # numpy 1 has no types for it
_HEADERS: Final = {
    (1, 0): _NPY.read_array_header_1_0,
    (2, 0): _NPY.read_array_header_2_0,
}


def read_arrays(path: Path, names: Collection[str], *, max_bytes: int = MAX_ARRAY_BYTES) -> dict[str, NDArray[Any]]:
    """Those arrays of ``names`` that the archive holds, read-only; others in it are not touched.

    Never unpickles. Each array's size is taken from its header and compared with the archive's own entry before the
    array is read. Raises :class:`UsageError` for a missing or damaged file, object arrays, and arrays above
    ``max_bytes`` bytes.
    """
    where = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = set(archive.namelist())
            return {name: _read(archive, f"{name}.npy", max_bytes) for name in names if f"{name}.npy" in members}
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror or error})", where=where, hint="check the path") from error
    except zipfile.BadZipFile as error:
        raise UsageError(
            f"not an intact .npz archive ({error})", where=where, hint="save it with numpy.savez"
        ) from error
    except (EOFError, zlib.error, RuntimeError, ValueError, SyntaxError, OverflowError, MemoryError) as error:
        what = f"cannot be read ({str(error) or type(error).__name__})"
        raise UsageError(what, where=where, hint="save it with numpy.savez, without Python objects") from error


def _read(archive: zipfile.ZipFile, member: str, max_bytes: int) -> NDArray[Any]:
    """One array of the archive; ValueError where header and contents disagree."""
    stored = archive.getinfo(member).file_size
    if stored > max_bytes:
        raise ValueError(f"{member} holds {stored} bytes, above the limit of {max_bytes}")
    with archive.open(member) as entry:
        head = entry.read(_MAX_HEADER_BYTES)
        header = io.BytesIO(head)
        read_header = _HEADERS.get(_NPY.read_magic(header))
        if read_header is None:
            raise ValueError(f"{member} has an unknown format version")
        try:
            shape, fortran_order, dtype = read_header(header)
        except Exception as error:  # numpy's parser lets through what tokenize, ast and dtype() raise.
            raise ValueError(f"{member} has a malformed header ({error})") from error
        if dtype.hasobject:
            raise ValueError(f"{member} holds pickled Python objects")
        count, start = math.prod(shape), header.tell()
        if min(shape, default=0) < 0 or not dtype.itemsize or count * dtype.itemsize != stored - start:
            raise ValueError(f"{member} declares shape {shape} of {dtype}, but holds {stored - start} bytes")
        data = head + entry.read()
    if len(data) != stored:
        raise EOFError(f"{member} ends after {len(data)} of {stored} bytes")
    if not count:
        return np.empty(shape, dtype)
    order: Literal["C", "F"] = "F" if fortran_order else "C"
    array: NDArray[Any] = np.frombuffer(data, dtype, count, start).reshape(shape, order=order)
    return array


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write ``arrays`` as an uncompressed .npz, in the order given.

    Equal arrays give equal bytes on every machine: fixed timestamps, no compressor whose output depends on its
    version. Written beside ``path`` and renamed. Raises ValueError for object arrays and OSError where the folder
    cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, array in arrays.items():
                entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
                entry.create_system = _UNIX
                entry.external_attr = 0o644 << 16
                buffer = io.BytesIO()
                _NPY.write_array(buffer, np.asarray(array, order="C"), version=(1, 0), allow_pickle=False)
                archive.writestr(entry, buffer.getbuffer())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
