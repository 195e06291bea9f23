"""Models of timm, with the configuration under which they are captured best.

timm imports torchvision unconditionally, for picture transforms and data sets that are not needed here. Where it is
absent (it has to match the installed torch to a build), empty stand-ins take its place while timm is imported.
"""

from __future__ import annotations

import difflib
import enum
import importlib.machinery
import importlib.util
import sys
import types
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgevit.data.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from edgevit.errors import FrontendError, ToolNotFound, UsageError

if TYPE_CHECKING:
    import torch

STAND_INS = (
    "torchvision",
    "torchvision.datasets",
    "torchvision.models",
    "torchvision.models.feature_extraction",
    "torchvision.ops",
    "torchvision.ops.misc",
    "torchvision.transforms",
    "torchvision.transforms.functional",
)


def load_timm(request: str, input_size: tuple[int, int] | None, seed: int) -> tuple[torch.nn.Module, Preprocess]:
    """The model of ``NAME`` or ``NAME?pretrained=true`` in evaluation mode, and the preprocessing of its configuration.

    Weights are random, drawn from ``seed``, unless pretrained ones are asked for, which timm downloads. Attention is
    built as scaled_dot_product_attention, which is raised to one op, and activations as plain torch functions. Raises
    ToolNotFound without timm, FrontendError for an unknown name, UsageError for an unknown option.
    """
    import torch

    name, pretrained = _parsed(request)
    timm = import_timm()
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=4, cutoff=0.5)
        hint = f"did you mean {', '.join(close)}?" if close else "timm.list_models() has the names"
        raise FrontendError("timm has no such model", where=f"timm:{name}", hint=hint)
    size = {} if input_size is None else {"img_size": input_size}
    with torch.random.fork_rng(devices=[]), _fused_attention():
        torch.manual_seed(seed)
        try:
            model = _create(timm, name, pretrained, size)
        except Exception as error:  # timm raises whatever a model's constructor or a failed download raises
            hint = "without a network, give --weights FILE.safetensors" if pretrained else "try another size"
            what = f"timm could not build it ({type(error).__name__}: {error})"
            raise FrontendError(what, where=f"timm:{name}", hint=hint) from error
    return model.eval(), _preprocess(model.pretrained_cfg, input_size)


def import_timm() -> Any:
    """The timm package, imported with stand-ins for torchvision where that is absent."""
    if importlib.util.find_spec("timm") is None:
        hint = "pip install 'edgevit[timm]', or without torchvision 'edgevit[timm-deps]' and --no-deps timm"
        raise ToolNotFound("timm is not installed", hint=hint)
    with torchvision_stand_ins():
        import timm
    return timm


@contextmanager
def torchvision_stand_ins() -> Iterator[None]:
    """Modules that give an empty class for any name, in place of torchvision where it is absent; removed afterwards."""
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is not None:
        yield
        return
    for name in STAND_INS:
        sys.modules[name] = _StandIn(name)
    try:
        yield
    finally:
        for name in STAND_INS:
            del sys.modules[name]


class _StandIn(types.ModuleType):
    """A module whose every public name is an empty class, of which timm derives its own and asks isinstance()."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        full = f"{self.__name__}.{name}"
        if name.startswith("__"):
            raise AttributeError(name)
        if full in sys.modules:
            return sys.modules[full]
        value = _Interpolation if name == "InterpolationMode" else type(name, (), {"__module__": self.__name__})
        setattr(self, name, value)
        return value


class _Interpolation(enum.Enum):
    """torchvision's names for Pillow's filters."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


@contextmanager
def _fused_attention() -> Iterator[None]:
    """timm's switch for scaled_dot_product_attention, on for all models and put back afterwards."""
    import timm.layers.config as config

    before = config._USE_FUSED_ATTN
    config.set_fused_attn(True, experimental=True)
    try:
        yield
    finally:
        config._USE_FUSED_ATTN = before


def _create(timm: Any, name: str, pretrained: bool, size: dict[str, Any]) -> torch.nn.Module:
    """Models without a fixed image size do not take ``img_size``; they are given no size and fit any."""
    try:
        model: torch.nn.Module = timm.create_model(name, pretrained=pretrained, scriptable=True, **size)
    except TypeError:
        if not size:
            raise
        model = timm.create_model(name, pretrained=pretrained, scriptable=True)
    return model


def _parsed(request: str) -> tuple[str, bool]:
    name, _, query = request.partition("?")
    options = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    pretrained = options.pop("pretrained", "false")
    if options or pretrained not in ("true", "false") or not name:
        raise UsageError("cannot be understood", where=f"timm:{request}", hint="timm:NAME or timm:NAME?pretrained=true")
    return name, pretrained == "true"


def _preprocess(config: Any, input_size: tuple[int, int] | None) -> Preprocess:
    """What timm's own evaluation does; a filter that is neither bilinear nor bicubic is taken as bicubic."""
    size = input_size or tuple(config["input_size"][1:])
    interpolation = config.get("interpolation")
    return Preprocess(
        size=(int(size[0]), int(size[1])),
        crop_pct=min(config.get("crop_pct") or 1.0, 1.0),
        interpolation="bilinear" if interpolation == "bilinear" else "bicubic",
        mean=tuple(config.get("mean") or IMAGENET_MEAN),
        std=tuple(config.get("std") or IMAGENET_STD),
    )
