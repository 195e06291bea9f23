"""Weights from a file into a module. The file is untrusted: nothing is unpickled but plain tensors."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from edgevit.errors import FrontendError

if TYPE_CHECKING:
    import torch

MAX_BYTES = 16 * 2**30
SHOWN = 4
SAVE_HINT = "save the weights alone: safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Keys under which training scripts put the state dict, the averaged weights first."""


def load_weights(module: torch.nn.Module, path: Path) -> None:
    """Fill ``module`` from a state dict in ``path`` (safetensors or torch.save).

    Raises FrontendError for a file that cannot be read, that is a pickle of anything but tensors, or whose names or
    shapes are not exactly the module's.
    """
    state = read_state_dict(path)
    expected = module.state_dict()
    missing = [name for name in expected if name not in state and not name.endswith("num_batches_tracked")]
    extra = [name for name in state if name not in expected]
    shapes = [
        f"{name} is {list(state[name].shape)}, wanted {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    kinds = {"missing": missing, "unknown": extra, "of another shape": shapes}
    faults = [f"{len(found)} {kind}: {_first(found)}" for kind, found in kinds.items() if found]
    if faults:
        raise FrontendError(
            f"these are not the weights of {type(module).__name__}; {'; '.join(faults)}",
            where=str(path),
            hint="give the weights of this very architecture, with its number of classes",
        )
    module.load_state_dict(state, strict=False)


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file by name; a checkpoint's wrapper and the prefix ``module.`` are taken off."""
    where = str(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise FrontendError(f"cannot be read ({error.strerror})", where=where, hint="look at the path") from error
    if size > MAX_BYTES:
        raise FrontendError(f"{size} bytes, more than the {MAX_BYTES} that are read", where=where, hint=SAVE_HINT)
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return _read_safetensors(path)
    return _state_dict(_read_torch(path), where)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        loaded: dict[str, torch.Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        hint = "the file is truncated or is no safetensors file: copy it again"
        raise FrontendError(f"weights cannot be read ({error})", where=str(path), hint=hint) from error
    return loaded


def _read_torch(path: Path) -> Any:
    import torch

    where = str(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what = "is a pickle, not weights; it is not opened, since that runs code"
        raise FrontendError(what, where=where, hint=SAVE_HINT) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, TypeError, BadZipFile) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        hint = "the file is truncated or was not written by torch.save: copy it again"
        raise FrontendError(f"weights cannot be read ({first})", where=where, hint=hint) from error


def _state_dict(loaded: Any, where: str) -> dict[str, torch.Tensor]:
    import torch

    for key in WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    items = loaded if isinstance(loaded, dict) else {None: loaded}
    state = {
        k.removeprefix("module."): v for k, v in items.items() if isinstance(k, str) and isinstance(v, torch.Tensor)
    }
    if len(state) < len(items):
        raise FrontendError("holds something else than tensors by name", where=where, hint=SAVE_HINT)
    return state


def _first(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
