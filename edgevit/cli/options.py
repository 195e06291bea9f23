"""Options that several commands share, and how their text is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgevit.errors import UsageError

METHODS = ("minmax", "moving-average", "percentile", "mse", "entropy", "repq")

Model = Annotated[
    str,
    typer.Argument(
        help="embedded, timm:NAME, PATH.pt2 (torch.export), or FILE.py:CALLABLE (runs FILE.py).", show_default=True
    ),
]
Target = Annotated[str, typer.Option("--target", "-t", help="The target; `edgevit targets` lists them.")]
Weights = Annotated[
    str | None, typer.Option("--weights", help="A state dict for the model: .safetensors, or .pth read without pickle.")
]
Calib = Annotated[str | None, typer.Option("--calib", help="Calibration images: a folder, an .npz, or `embedded`.")]
CalibLimit = Annotated[int, typer.Option("--calib-limit", help="Use at most so many calibration images.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="A quantization configuration (TOML), as --save-config writes it.")
]
Bits = Annotated[
    str | None,
    typer.Option(
        "--bits", help="Bits of weights and activations: 8, or 6/8 for 6-bit weights. 2 to 8, in 8-bit containers."
    ),
]
Method = Annotated[
    str | None, typer.Option("--method", help=f"How ranges are chosen: {', '.join(METHODS)} (RepQ-ViT equalization).")
]
InputSize = Annotated[
    str | None, typer.Option("--input-size", help="Image size in pixels: 224 or 224x192 (height x width).")
]
Mean = Annotated[str | None, typer.Option("--mean", help="Mean of the RGB channels in [0, 1]: 0.485,0.456,0.406.")]
Std = Annotated[str | None, typer.Option("--std", help="Standard deviation of the RGB channels: 0.229,0.224,0.225.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of random weights and of the choice of images.")]


def parse_size(text: str | None) -> tuple[int, int] | None:
    """(height, width) from ``224`` or ``224x192``."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdigit() and 0 < int(part) <= 4096 for part in parts):
        raise UsageError(f"--input-size {text!r}", hint="one number of pixels, or height x width: 224 or 224x192")
    return int(parts[0]), int(parts[-1])


def parse_preprocess(size: tuple[int, int] | None, mean: str | None, std: str | None) -> Any:
    """The normalization that --mean and --std give, or None to take the model's own."""
    if mean is None and std is None:
        return None
    from edgevit.data.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess

    return Preprocess(
        size=size or (224, 224),
        mean=IMAGENET_MEAN if mean is None else _triple("--mean", mean),
        std=IMAGENET_STD if std is None else _triple("--std", std),
    )


def _triple(option: str, text: str) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option} {text!r}", hint="three numbers with commas: 0.485,0.456,0.406") from None
    if option == "--std" and min(red, green, blue) <= 0:
        raise UsageError(f"{option} {text!r}", hint="standard deviations are positive")
    return red, green, blue


def quant_config(config: Path | None, bits: str | None, method: str | None) -> Any:
    """The quantization configuration of a file, changed by --bits and --method."""
    from edgevit.quant.config import QuantConfig, make_config, read_config

    chosen = QuantConfig() if config is None else read_config(config)
    changes: dict[str, Any] = {}
    if bits is not None:
        weight, slash, activation = bits.partition("/")
        if not weight.isdigit() or (slash and not activation.isdigit()):
            raise UsageError(f"--bits {bits!r}", hint="8, or 6/8 for 6-bit weights and 8-bit activations")
        changes |= {"weight_bits": int(weight), "activation_bits": int(activation or weight)}
    if method == "repq":
        changes |= {"equalize": True, "stream": "plain"}
    elif method is not None:
        changes["observer"] = method
    if not changes:
        return chosen
    return make_config({**chosen.model_dump(exclude_none=True), **changes}, where="--bits or --method")
