"""Programs saved by torch.export.save.

The file is untrusted, and torch's reader is not made for that: what it would unpickle or evaluate is examined first,
and a file with anything but tensors and torch's operators is refused.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevit.errors import FrontendError
from edgevit.frontend.capture import AXES, RE_EXPORT

if TYPE_CHECKING:
    from torch.export import ExportedProgram

MAX_BYTES = 16 * 2**30
MAX_MEMBERS = 100_000
MAX_JSON = 2**28
SAVE_HINT = (
    "save it with torch.export.save(torch.export.export(model.eval(), (image,)), 'model.pt2') of torch 2.8 or later"
)
TARGET = re.compile(
    r"torch\.ops\.\w+\.\w+\.\w+"
    r"|torch\.ops\.higher_order\.(wrap_with_autocast|wrap_with_set_grad_enabled)"
    r"|_operator\.getitem"
)
"""What a node may call: operators with an overload, the two wrappers of a region's mode, and the choice of a result."""


def load_pt2(path: Path) -> ExportedProgram:
    """The exported program in ``path``.

    Raises FrontendError for a file that is missing, damaged, too large, made with dynamic shapes, or that holds pickled
    objects.
    """
    import torch

    where = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            _check(archive, where)
    except FileNotFoundError as error:
        raise FrontendError("no such file", where=where, hint="look at the path") from error
    except (OSError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        hint = "the file is truncated or was not written by torch.export.save: copy it again, or " + SAVE_HINT
        raise FrontendError(f"is no readable program ({error})", where=where, hint=hint) from error
    try:
        return torch.export.load(str(path))
    except Exception as error:  # torch's reader raises whatever a wrong field makes it stumble over
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        what = f"torch.export.load failed ({type(error).__name__}: {first})"
        raise FrontendError(what, where=where, hint=SAVE_HINT) from error


def _check(archive: zipfile.ZipFile, where: str) -> None:
    """Refuse what torch's reader would unpickle without restriction, evaluate as an expression or run natively."""
    members = archive.infolist()
    size = sum(member.file_size for member in members)
    if len(members) > MAX_MEMBERS or size > MAX_BYTES:
        raise FrontendError(f"{len(members)} members of {size} bytes are too many", where=where, hint=SAVE_HINT)
    damaged = archive.testzip()
    if damaged is not None:
        raise FrontendError(f"is damaged at {damaged}", where=where, hint="copy the file again")
    # Everything lies in one folder, named like the file that was written.
    by_name = {member.filename.partition("/")[2]: member for member in members}
    if len(by_name) != len(members) or "archive_format" not in by_name or "models/model.json" not in by_name:
        raise FrontendError("is not an archive of torch.export.save", where=where, hint=SAVE_HINT)
    for name, member in by_name.items():
        if name.startswith("data/aotinductor/"):
            raise FrontendError("holds native code", where=where, hint=SAVE_HINT)
        if name.startswith(("data/weights/", "data/constants/")) and name.endswith(".json"):
            _check_payload(_json(archive, member, where), where)
        elif name.startswith(("data/weights/", "data/constants/", "data/sample_inputs/")) and name.endswith(".pt"):
            _check_pickle(archive.read(member), name, where)
        elif name.startswith("models/"):
            _check_program(_json(archive, member, where), where)


def _json(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> Any:
    if member.file_size > MAX_JSON:
        raise FrontendError(f"{member.filename} has {member.file_size} bytes", where=where, hint=SAVE_HINT)
    try:
        return json.loads(archive.read(member))
    except (ValueError, RecursionError) as error:
        raise FrontendError(f"{member.filename} is no JSON ({error})", where=where, hint=SAVE_HINT) from error


def _check_payload(config: Any, where: str) -> None:
    entries = config.get("config") if isinstance(config, dict) else None
    if not isinstance(entries, dict):
        raise FrontendError("has no list of its tensors", where=where, hint=SAVE_HINT)
    for name, entry in entries.items():
        plain = isinstance(entry, dict) and entry.get("use_pickle") is False
        if not plain or not re.fullmatch(r"(weight|tensor)_\d+", str(entry.get("path_name"))):
            hint = "keep only plain tensors in the model"
            raise FrontendError(f"{name} is a pickled object, not a tensor", where=where, hint=hint)


def _check_pickle(data: bytes, name: str, where: str) -> None:
    """torch falls back to the unrestricted unpickler where the restricted one fails, so that one is to succeed."""
    import torch

    if not data:
        return
    try:
        torch.load(io.BytesIO(data), weights_only=True)
    except Exception as error:  # any failure here would make torch's own reader unpickle without restriction
        raise FrontendError(
            f"{name} is a pickle of something else than tensors", where=where, hint=SAVE_HINT
        ) from error


def _check_program(program: Any, where: str) -> None:
    try:
        graph, signature = program["graph_module"]["graph"], program["graph_module"]["signature"]
        inputs = [spec["user_input"]["arg"] for spec in signature["input_specs"] if "user_input" in spec]
        names = [arg["as_tensor"]["name"] for arg in inputs if "as_tensor" in arg]
        sizes = {name: graph["tensor_values"][name]["sizes"] for name in names}
        targets = {node["target"] for nodes in _values_of(program, "nodes") for node in nodes}
    except (KeyError, TypeError, AttributeError) as error:
        raise FrontendError(f"its program lacks {error}", where=where, hint=SAVE_HINT) from error
    for name, shape in sizes.items():
        axes = AXES if len(shape) == len(AXES) else ("axis",) * len(shape)
        dynamic = [f"dimension {i} ({axes[i]})" for i, size in enumerate(shape) if "as_int" not in size]
        if dynamic:
            raise FrontendError(f"input {name} is dynamic in {', '.join(dynamic)}", where=where, hint=RE_EXPORT)
    if any(True for _ in _values_of(program, "expr_str")) or program.get("range_constraints"):
        raise FrontendError("has dynamic shapes", where=where, hint=RE_EXPORT)
    foreign = sorted(target for target in targets if not TARGET.fullmatch(str(target)))
    if foreign:
        hint = "only operators of torch.ops can be read from a file"
        raise FrontendError(f"calls {', '.join(foreign)}", where=where, hint=hint)


def _values_of(value: Any, key: str) -> Iterator[Any]:
    """What stands under ``key`` at any depth, subgraphs included."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if key in item:
                yield item[key]
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
