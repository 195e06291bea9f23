"""The export bundle: a folder with the artifact, its golden inputs and outputs, its reports, and a manifest with every
hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from edgevit.data.arrays import read_arrays, write_arrays
from edgevit.errors import BundleError
from edgevit.files import MARKER, replaced_folder

MAX_MANIFEST_BYTES = 1 << 20
MAX_FILE_BYTES = 1 << 31
GOLDEN = "golden.npz"

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelRecord(_Frozen):
    """The model that was exported. ``weights_sha256`` is over its parameters by name."""

    name: str
    source: str
    weights_sha256: Hash
    parameters: int
    input: str
    classes: int


class ImagesRecord(_Frozen):
    """The images that something was computed from."""

    source: str
    sha256: Hash
    count: int


class Manifest(_Frozen):
    """What is in the bundle and what it was made from. It holds no time and no path outside the bundle, so that two
    exports with the same inputs are equal byte for byte.
    """

    format: Literal[1] = 1
    target: str
    artifact: FileName
    status: str
    model: ModelRecord
    calibration: ImagesRecord
    evaluation: ImagesRecord | None
    versions: dict[str, str]
    options: dict[str, JsonValue]
    seed: int
    files: dict[FileName, Hash]


@contextmanager
def write_bundle(path: Path) -> Iterator[Path]:
    """A temporary folder to fill; it becomes the bundle at ``path`` when the block ends well. ``seal`` is to be called
    in it last.
    """
    with replaced_folder(path) as folder:
        yield folder


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Write the manifest with the hashes of all files that are in ``folder``."""
    files = {entry.name: file_hash(entry) for entry in sorted(folder.iterdir())}
    sealed = manifest.model_copy(update={"files": files})
    write_json(folder / MARKER, sealed.model_dump(mode="json"))
    return sealed


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as readable JSON with a fixed key order. Infinities and NaN are not JSON and raise ValueError."""
    path.write_text(
        json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def write_golden(folder: Path, inputs: NDArray[np.generic], outputs: NDArray[np.generic]) -> None:
    """Write golden inputs (S, *input shape) and the bit-exact outputs (S, *output shape) that belong to them."""
    write_arrays(folder / GOLDEN, {"inputs": inputs, "outputs": outputs})


def read_golden(folder: Path) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """Golden inputs and outputs. Raises UsageError for a damaged file, BundleError for one without them."""
    arrays = read_arrays(folder / GOLDEN, {"inputs", "outputs"})
    if len(arrays) < 2:
        held = ", ".join(sorted(arrays)) or "neither"
        what = f"holds {held} of inputs and outputs"
        raise BundleError(what, where=str(folder / GOLDEN), hint="export the bundle again")
    return arrays["inputs"], arrays["outputs"]


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a bundle. Raises BundleError for anything that is not one."""
    path = folder / MARKER
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise BundleError(
                f"is larger than {MAX_MANIFEST_BYTES} bytes", where=str(path), hint="this is no manifest of edgevit"
            )
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BundleError(
            f"cannot be read: {error.strerror}", where=str(path), hint="name a folder that `edgevit export` wrote"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise BundleError(f"{place}: {first['msg']}", where=str(path), hint="export the bundle again") from None


def check_files(folder: Path, manifest: Manifest) -> list[str]:
    """What is wrong with the files of a bundle: missing, changed, or not listed. Empty when nothing is."""
    wrong = []
    for name, expected in sorted(manifest.files.items()):
        path = folder / name
        if path.is_symlink() or not path.is_file():
            wrong.append(f"{name}: missing")
        elif file_hash(path) != expected:
            wrong.append(f"{name}: changed since the export")
    listed = {*manifest.files, MARKER}
    wrong += [f"{entry.name}: not in the manifest" for entry in sorted(folder.iterdir()) if entry.name not in listed]
    if manifest.artifact not in manifest.files:
        wrong.append(f"{manifest.artifact}: the artifact is not listed")
    return wrong


def file_hash(path: Path) -> str:
    """SHA-256 of a file. Raises BundleError for one beyond 2 GiB."""
    if path.stat().st_size > MAX_FILE_BYTES:
        raise BundleError(f"is larger than {MAX_FILE_BYTES} bytes", where=str(path), hint="no bundle holds such a file")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
