"""The TensorFlow Lite interpreter on a board or a desktop, with the Edge TPU delegate where one is asked for and
present.

Works with ``tflite_runtime`` or ``ai_edge_litert``, whichever is installed; pycoral is never needed.
"""

from __future__ import annotations

import ctypes
import importlib
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgevit.errors import DeviceError, ToolNotFound, UsageError

_RUNTIMES = ("tflite_runtime.interpreter", "ai_edge_litert.interpreter")
"""In order of preference: libedgetpu is built against the interpreter of the first."""
_LIBRARIES = {"Darwin": "libedgetpu.1.dylib", "Windows": "edgetpu.dll"}
_COMPILED_OP = b"edgetpu-custom-op"
_IDENTIFIER = b"TFL3"
_MAX_MODEL_BYTES = 2**31 - 1
"""Offsets of a flatbuffer are signed 32-bit numbers."""


@dataclass(frozen=True)
class Session:
    """An interpreter with its tensors allocated.

    ``device`` is ``cpu`` or the device string that was asked for, ``on_edge_tpu`` whether any of the model runs on
    the Edge TPU, ``note`` what a user has to know about the choice (empty if nothing).
    """

    interpreter: Any
    runtime: str
    device: str
    on_edge_tpu: bool
    note: str


def open_session(path: Path, device: str = "auto", reference: bool = False) -> Session:
    """Load a ``.tflite`` file for ``device``: ``cpu``, ``auto``, ``usb``, ``pci`` or ``:N`` (the N-th Edge TPU).

    ``auto`` takes an Edge TPU if there is one and the CPU, with a note, if not. ``reference`` selects TensorFlow
    Lite's reference kernels on the CPU. Raises `UsageError` for a file that is no model, `ToolNotFound` (exit code 6)
    without interpreter or libedgetpu, and `DeviceError` (7) without the device.
    """
    if reference and device not in ("cpu", "auto"):
        raise UsageError(
            f"--reference runs on the CPU, not on {device!r}",
            where="edgevit_coral",
            hint="drop --reference or use --device cpu",
        )
    content = _read_model(path)
    compiled = _COMPILED_OP in content
    runtime = _find_runtime()
    delegate, note = None, ""
    if reference or device == "cpu":
        device = "cpu"
    elif device == "auto":
        try:
            delegate = _load_delegate(runtime, {})
        except (ToolNotFound, DeviceError) as error:
            device, note = "cpu", f"no Edge TPU ({error.what}): running on the CPU"
    else:
        delegate = _load_delegate(runtime, {"device": device})
    if compiled and delegate is None:
        raise DeviceError(
            "the model is compiled for the Edge TPU and cannot run on the CPU",
            where=str(path),
            hint="attach the device, or run the model.tflite that it was compiled from"
            + (f" [{note}]" if note else ""),
        )
    if delegate is not None and not compiled:
        note = "the model is not compiled for the Edge TPU (run edgetpu_compiler): every op runs on the CPU"
    options: dict[str, Any] = {"experimental_delegates": [delegate]} if delegate is not None else {}
    if reference:
        options["experimental_op_resolver_type"] = runtime.OpResolverType.BUILTIN_REF
    try:
        interpreter = runtime.Interpreter(model_content=content, **options)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        if delegate is not None and compiled:
            raise DeviceError(
                f"the Edge TPU refused the model: {_line(error)}",
                where=str(path),
                hint="libedgetpu must be at least as new as the runtime version that the model was compiled for",
            ) from error
        raise UsageError(f"not a usable model: {_line(error)}", where=str(path), hint="export it again") from error
    return Session(interpreter, runtime.__name__.split(".")[0], device, delegate is not None and compiled, note)


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _read_model(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > _MAX_MODEL_BYTES:
            raise UsageError(
                f"{size} bytes are too many for a .tflite file", where=str(path), hint="pass a .tflite file"
            )
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot be read: {error.strerror or error}", where=str(path), hint="check the path of the model"
        ) from error
    if content[4:8] != _IDENTIFIER:
        raise UsageError(
            "not a TensorFlow Lite model (no TFL3 identifier)", where=str(path), hint="pass a .tflite file"
        )
    return content


def _find_runtime() -> Any:
    for name in _RUNTIMES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ToolNotFound(
        "no TensorFlow Lite interpreter is installed",
        where="edgevit_coral",
        hint="pip install ai-edge-litert (or tflite-runtime)",
    )


def _load_delegate(runtime: Any, options: dict[str, str]) -> Any:
    library = _LIBRARIES.get(platform.system(), "libedgetpu.so.1")
    try:
        # The interpreters' own loader fails noisily half-way through when the library is absent.
        ctypes.CDLL(library)
        return runtime.load_delegate(library, options)
    except OSError as error:
        raise ToolNotFound(
            _line(error), where="Edge TPU", hint="install Coral's package libedgetpu1-std, or use --device cpu"
        ) from error
    except (ValueError, RuntimeError) as error:
        wanted = options.get("device", "any")
        raise DeviceError(
            f"{_line(error)} (device {wanted})",
            where="Edge TPU",
            hint="check that it is plugged in (lsusb: 1a6e:089a or 18d1:9302; PCIe: /dev/apex_0) and may be opened, "
            "replug a USB device, or use --device cpu",
        ) from error
