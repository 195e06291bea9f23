"""Classify an image with an exported model, on an Edge TPU or on the CPU: ``python -m edgevit_coral MODEL.tflite
IMAGE``.

Made for boards: beyond the standard library it needs numpy, Pillow and a TensorFlow Lite interpreter. The exported
models take RGB pixels as they are: a stored integer is the pixel (uint8) or the pixel less 128 (int8), and the
normalization is part of the model.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit.errors import DeviceError, EdgevitError, ToolNotFound, UsageError

from .runtime import Session, open_session

_MAX_LABEL_BYTES = 4 * 2**20
_PIXEL_GRIDS = ((1 / 128, 128), (1 / 255, 0), (1.0, 0))
"""(scale, uint8 zero point) of inputs that take bytes as they are: pixels around 0, from 0 to 1, and from 0 to 255."""

_SOFTMAX_SCALE = 1 / 256
"""Output scale that TensorFlow Lite prescribes for SOFTMAX: an output with it holds probabilities already."""


@dataclass(frozen=True)
class Score:
    """One class: its index, label, softmax score in 0..1 and the model's own dequantized output."""

    index: int
    label: str
    score: float
    logit: float


@dataclass(frozen=True)
class Classification:
    """Result of a run.

    ``latency_ms`` holds every sample of the interpreter's ``invoke`` but the first one, a warm-up.
    """

    top: tuple[Score, ...]
    latency_ms: tuple[float, ...]
    device: str
    on_edge_tpu: bool
    runtime: str
    notes: tuple[str, ...]

    @property
    def median_ms(self) -> float:
        """Median time of an inference in milliseconds."""
        return statistics.median(self.latency_ms)

    @property
    def place(self) -> str:
        """Where the model ran, in words."""
        return f"Edge TPU ({self.device})" if self.on_edge_tpu else "CPU, not Edge TPU"


def classify(
    session: Session, image: Path, labels: Sequence[str] = (), top: int = 5, repeat: int = 10, stretch: bool = False
) -> Classification:
    """Classify one image file.

    ``labels`` is empty or has one label a class. ``stretch`` resizes without regard to the aspect ratio instead of
    cropping the centre. Raises `UsageError` for an image that cannot be read or a model that is no image classifier.
    """
    interpreter, notes = session.interpreter, [session.note] if session.note else []
    source, target = _only(interpreter.get_input_details(), "input"), _only(interpreter.get_output_details(), "output")
    shape = tuple(int(size) for size in source["shape"])
    if len(shape) != 4 or shape[0] != 1 or shape[3] not in (1, 3) or min(shape) < 1:
        raise UsageError(
            f"input of shape {list(shape)} is not one image [1, height, width, 3]",
            where="model",
            hint="use a classifier",
        )
    pixels = load_image(image, shape[1], shape[2], shape[3], stretch)
    scale, zero = _quantization(source, "input")
    if not takes_bytes(scale, zero, source["dtype"]):
        notes.append(
            f"the input's scale {scale:g} and zero point {zero} are none that take plain bytes: scores may mislead"
        )
    interpreter.set_tensor(source["index"], stored_pixels(pixels, source["dtype"])[None])
    samples = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        try:
            interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            hint = "replug the device and try again" if session.on_edge_tpu else "export the model again"
            raise DeviceError(f"the inference failed: {error}", where=session.device, hint=hint) from error
        samples.append((time.perf_counter() - start) * 1e3)
    scale, zero = _quantization(target, "output")
    logits = (interpreter.get_tensor(target["index"]).astype(np.float64).reshape(-1) - zero) * scale
    if labels and len(labels) != logits.size:
        raise UsageError(
            f"{len(labels)} labels for a model of {logits.size} classes",
            where="--labels",
            hint="one label a line, in class order (ImageNet lists of 1001 lines start with 'background')",
        )
    scores = logits if math.isclose(scale, _SOFTMAX_SCALE) else softmax(logits)
    best = np.argsort(-logits, kind="stable")[:top]
    found = tuple(
        Score(int(i), labels[i] if labels else f"class {i}", float(scores[i]), float(logits[i])) for i in best
    )
    return Classification(found, tuple(samples[1:]), session.device, session.on_edge_tpu, session.runtime, tuple(notes))


def _only(details: list[dict[str, Any]], what: str) -> dict[str, Any]:
    if len(details) != 1:
        raise UsageError(f"{len(details)} {what}s instead of one", where="model", hint="use an image classifier")
    return details[0]


def _quantization(details: dict[str, Any], what: str) -> tuple[float, int]:
    scale, zero = details["quantization"]
    if details["dtype"] not in (np.uint8, np.int8) or not (math.isfinite(scale) and scale > 0):
        kind = np.dtype(details["dtype"]).name
        raise UsageError(
            f"{what} of type {kind} without usable quantization",
            where="model",
            hint="export with --io uint8 or --io int8",
        )
    return float(scale), int(zero)


def takes_bytes(scale: float, zero: int, dtype: type[np.generic]) -> bool:
    """Whether the grid of an input is one of those whose integers are the pixels themselves."""
    shift = 0 if np.dtype(dtype) == np.uint8 else 128
    return any(
        math.isclose(scale, known, rel_tol=1e-3) and zero + shift == zero_point for known, zero_point in _PIXEL_GRIDS
    )


def stored_pixels(pixels: NDArray[np.uint8], dtype: type[np.generic]) -> NDArray[np.generic]:
    """Pixels as an input of type uint8 or int8 stores them."""
    if np.dtype(dtype) == np.uint8:
        return pixels
    return (pixels.astype(np.int16) - 128).astype(np.int8)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Softmax of a vector."""
    powers: NDArray[np.float64] = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum(), dtype=np.float64)


def load_image(path: Path, height: int, width: int, channels: int = 3, stretch: bool = False) -> NDArray[np.uint8]:
    """Pixels [height, width, channels] of an image file: scaled bilinearly to cover the input, then the centre cropped.

    The camera's orientation tag is obeyed. Raises `UsageError` for what is no image, truncated, or unreasonably large.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise ToolNotFound("Pillow is not installed", where="edgevit_coral", hint="pip install pillow") from error
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file).convert("RGB" if channels == 3 else "L")
    except FileNotFoundError as error:
        raise UsageError("no such image", where=str(path), hint="check the path") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UsageError(
            f"cannot be read as an image: {error}", where=str(path), hint="use a whole JPEG, PNG, BMP or WebP file"
        ) from error
    if stretch:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    else:
        image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8).reshape(height, width, channels)


def load_labels(path: Path) -> tuple[str, ...]:
    """Labels of a text file, one a line in class order, with or without Coral's leading numbers (``17  tabby``)."""
    try:
        if path.stat().st_size > _MAX_LABEL_BYTES:
            raise UsageError("too large for a list of labels", where=str(path), hint="one label a line")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot be read: {error}", where=str(path), hint="a UTF-8 text file, one label a line"
        ) from error
    while lines and not lines[-1].strip():
        lines.pop()
    pairs = [line.strip().split(maxsplit=1) for line in lines]
    if pairs and all(len(pair) == 2 and pair[0] == str(i) for i, pair in enumerate(pairs)):
        return tuple(pair[1] for pair in pairs)
    return tuple(line.strip() for line in lines)


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 1000000")
    return value


def _device(text: str) -> str:
    if text in ("auto", "cpu", "usb", "pci") or (text.startswith(":") and text[1:].isascii() and text[1:].isdigit()):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is none of auto, cpu, usb, pci, :0, :1 ...")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m edgevit_coral",
        description="Classify an image with a .tflite model, on a Coral Edge TPU where there is one.",
        epilog="exit codes: 0 ok, 2 usage, 6 interpreter or libedgetpu missing, 7 no device or it failed",
    )
    parser.add_argument("model", type=Path, metavar="MODEL.tflite")
    parser.add_argument("image", type=Path, metavar="IMAGE")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="text file with one label a line")
    parser.add_argument(
        "--device", type=_device, default="auto", help="auto (default), cpu, usb, pci, or :N for the N-th Edge TPU"
    )
    parser.add_argument("--top", type=_positive, default=5, metavar="K", help="classes to print (5)")
    parser.add_argument(
        "--repeat", type=_positive, default=10, metavar="N", help="timed inferences after one warm-up (10)"
    )
    parser.add_argument("--stretch", action="store_true", help="ignore the aspect ratio instead of cropping the centre")
    parser.add_argument(
        "--reference", action="store_true", help="use TensorFlow Lite's reference kernels on the CPU (slow)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(argv)
    try:
        labels = load_labels(options.labels) if options.labels else ()
        session = open_session(options.model, options.device, options.reference)
        result = classify(session, options.image, labels, options.top, options.repeat, options.stretch)
    except EdgevitError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if options.json:
        print(json.dumps({**asdict(result), "median_ms": result.median_ms, "place": result.place}, indent=2))
        return 0
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    for score in result.top:
        print(f"{score.score:7.2%}  {score.label}")
    runs = len(result.latency_ms)
    print(f"{result.median_ms:.2f} ms per inference, median of {runs}, on {result.place} [{result.runtime}]")
    return 0
