"""A model from a function of the user's own file. This runs that file, which is what was asked for."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from edgevit.data.preprocess import Preprocess
from edgevit.errors import FrontendError


def load_callable(path: Path, attribute: str, seed: int) -> tuple[Any, Preprocess | None]:
    """Import ``path`` and call ``attribute()``, which returns a module, a program, or one of them with its Preprocess.

    A class works as well as a function. Random weights are drawn from ``seed``. The file can import its neighbours.
    Raises FrontendError for a file or callable that is missing, raises, or returns something else.
    """
    import torch
    from torch.export import ExportedProgram

    where = f"{path}:{attribute}"
    module = _import(path, where)
    build = getattr(module, attribute, None)
    if not callable(build):
        own = {name: value for name, value in vars(module).items() if callable(value)}
        defined = [name for name, value in own.items() if getattr(value, "__module__", "") == module.__name__]
        hint = f"it defines {', '.join(defined) or 'none'}"
        raise FrontendError(f"{attribute!r} is not a callable of that file", where=where, hint=hint)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            built = build()
        except Exception as error:  # the user's own code may raise anything
            raise _raised(error, f"{attribute}() raised", where) from error
    model, preprocess = built if isinstance(built, tuple) and len(built) == 2 else (built, None)
    is_model = isinstance(model, (torch.nn.Module, ExportedProgram))
    if not is_model or not isinstance(preprocess, (Preprocess, type(None))):
        raise FrontendError(
            f"{attribute}() returned {type(built).__name__}",
            where=where,
            hint="return a torch.nn.Module or an ExportedProgram, alone or as (model, edgevit.data.Preprocess(...))",
        )
    return model, preprocess


def _import(path: Path, where: str) -> Any:
    if not path.is_file():
        hint = "give the path of a Python file, then a colon and a callable's name"
        raise FrontendError("no such file", where=where, hint=hint)
    # One name for each file: two files called model.py are two modules.
    name = f"edgevit_user_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.modules[name] = module
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's own code may raise anything
        del sys.modules[name]
        raise _raised(error, "importing it raised", where) from error
    finally:
        sys.path.remove(folder)
    return module


def _raised(error: BaseException, what: str, where: str) -> FrontendError:
    """The user's exception with the line that raised it."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    place = f" at {traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}" if traceback is not None else ""
    return FrontendError(f"{what} {type(error).__name__}: {error}{place}", where=where, hint="mend that file")
