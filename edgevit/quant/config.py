"""The quantization configuration: what a person chooses, in a TOML file that is meant to be read and edited."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgevit.errors import UsageError
from edgevit.files import write_whole
from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import Add
from edgevit.ir.types import DType
from edgevit.quant.grids import MAX_BITS, MIN_BITS, GridSpec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ObserverName = Literal["minmax", "moving-average", "percentile", "mse", "entropy"]
Granularity = Literal["per-tensor", "per-channel", "auto"]
NormForm = Literal["auto", "mean", "rms", "l2"]
GeluForm = Literal["auto", "sigmoid", "cubic", "tanh", "relu6"]
Stream = Literal["plain", "centred", "rotated"]
Bits = Annotated[int, Field(ge=MIN_BITS, le=MAX_BITS)]
Percent = Annotated[float, Field(gt=50, le=100)]

MAX_FILE_BYTES = 1 << 20


class LayerOverride(BaseModel):
    """Settings for the ops whose module path matches a glob; what is left out stays as it is without the override."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    match: Annotated[str, Field(min_length=1)]
    """A module path with ``*``, ``?`` and ``[...]``, such as ``blocks.*.mlp.fc2``; ``*`` also spans dots."""
    op: str | None = None
    """Restricts the override to ops of this name in the text form, such as ``add`` or ``linear``."""
    activation_bits: Bits | None = None
    weight_bits: Bits | None = None
    observer: ObserverName | None = None
    residual_observer: ObserverName | None = None
    """When it is left out, ``observer`` also holds for sums."""
    percentile: Percent | None = None
    symmetric_activations: bool | None = None
    weights: Granularity | None = None
    bias_correction: bool | None = None
    equalize: bool | None = None
    norm: NormForm | None = None
    gelu: GeluForm | None = None


class LayerConfig(BaseModel):
    """The settings that hold for one layer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    activation_bits: Bits = Field(default=8, description="Bits of activations, 2 to 8, in 8-bit containers.")
    weight_bits: Bits = Field(default=8, description="Bits of weights, 2 to 8, in 8-bit containers.")
    observer: ObserverName = Field(
        default="minmax",
        description="How ranges of activations are chosen: minmax, moving-average, percentile, mse or entropy.",
    )
    residual_observer: ObserverName = Field(
        default="mse",
        description="The same for sums, which carry the residual stream with its outlier channels.",
    )
    percentile: Percent = Field(
        default=99.99, description="For the percentile observer: what it keeps, in percent of the values on each side."
    )
    symmetric_activations: bool = Field(
        default=False, description="Whether activations have their zero point in the middle of the grid."
    )
    weights: Granularity = Field(
        default="auto",
        description="One scale per-tensor, one per-channel, or auto: per-channel where it gains auto_gain_db.",
    )
    bias_correction: bool = Field(
        default=True, description="Whether biases absorb the mean error that quantization makes in each output channel."
    )
    equalize: bool = Field(
        default=False,
        description="Whether channel ranges after LayerNorm move into the next weights (RepQ-ViT).",
    )
    norm: NormForm = Field(
        default="auto",
        description="How LayerNorm is computed in integers: mean, rms (of a centred stream), l2, or auto: as measured.",
    )
    gelu: GeluForm = Field(
        default="auto",
        description="How GELU is computed in integers: sigmoid, relu6, cubic, tanh, or auto: as measured.",
    )

    def observer_of(self, op: Op) -> ObserverName:
        """The observer of this op's result."""
        return self.residual_observer if isinstance(op, Add) else self.observer

    def activation_spec(self, dtype: DType = DType.I8) -> GridSpec:
        """The kind of grid that this layer's result gets."""
        return GridSpec(dtype, self.activation_bits, symmetric=self.symmetric_activations)


class QuantConfig(LayerConfig):
    """Settings of all layers, of the whole graph, and exceptions for some layers.

    Where several overrides match a layer, later ones win, key by key.
    """

    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.95, description="For the moving-average observer: the weight of what was seen before."
    )
    auto_gain_db: Annotated[float, Field(ge=0)] = Field(
        default=3.0,
        description="For auto: the gain in SQNR, in dB, that makes weights per-channel or takes a dearer form.",
    )
    sequential: bool = Field(
        default=True,
        description="Whether ranges and biases are chosen behind quantized layers, not in the float model.",
    )
    match_results: bool = Field(
        default=False,
        description="With sequential: ranges in front of softmax and GELU are chosen for the least error behind them.",
    )
    stream: Stream = Field(
        default="rotated",
        description="Basis of the residual stream: plain, centred (no mean), or centred and rotated (Hadamard).",
    )
    stream_seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = Field(
        default=0, description="Which random signs the rotation has."
    )
    layers: tuple[LayerOverride, ...] = Field(default=(), description="Overrides, applied in order.")

    def layer(self, loc: str, op: str = "") -> LayerConfig:
        """The settings that hold for the module path ``loc`` and, there, for ops named ``op``."""
        settings: dict[str, Any] = {name: getattr(self, name) for name in LayerConfig.model_fields}
        for override in self.layers:
            if fnmatchcase(loc, override.match) and override.op in (None, op):
                values = override.model_dump(exclude={"match", "op"}, exclude_none=True)
                if "observer" in values:
                    values.setdefault("residual_observer", values["observer"])
                settings.update(values)
        return LayerConfig.model_construct(**settings)

    def check_layers(self, graph: Graph) -> None:
        """Raise UsageError for an override that matches no op of ``graph``, naming module paths that look alike."""
        for override in self.layers:
            locs = sorted({op.loc for op in graph.ops if op.loc and override.op in (None, op.NAME)})
            if not any(fnmatchcase(loc, override.match) for loc in locs):
                near = difflib.get_close_matches(override.match, locs, n=3, cutoff=0.3)
                hint = f"near it: {', '.join(near)}" if near else "`edgevit inspect` shows the module paths"
                raise UsageError(f"no layer matches {override.match!r}", where="[[layers]]", hint=hint)


def read_config(path: Path) -> QuantConfig:
    """The configuration in a TOML file. Raises UsageError that names the key at fault."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(
                f"larger than {MAX_FILE_BYTES} bytes", where=str(path), hint="a configuration is a short TOML file"
            )
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot be read: {error}", where=str(path), hint="`--save-config` writes one to start from"
        ) from error
    return parse_config(text, where=str(path))


def parse_config(text: str, where: str = "configuration") -> QuantConfig:
    """The configuration in TOML text. Raises UsageError that names the key at fault."""
    try:
        return make_config(tomllib.loads(text), where)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"is no TOML: {error}", where=where, hint="`--save-config` writes one to start from"
        ) from error


def make_config(values: dict[str, Any], where: str = "configuration") -> QuantConfig:
    """The configuration with these values. Raises UsageError that names the key at fault and its remedy."""
    try:
        return QuantConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        name = str(first["loc"][-1])
        if first["type"] == "extra_forbidden":
            known = LayerOverride.model_fields if len(first["loc"]) > 1 else QuantConfig.model_fields
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known keys: {', '.join(known)}"
            raise UsageError(f"unknown key {key!r}", where=where, hint=hint) from None
        raise UsageError(
            f"{key} = {first['input']!r}", where=where, hint=_expectation(first["msg"], first["input"])
        ) from None


def write_config(config: QuantConfig, path: Path) -> None:
    """Write ``config`` as commented TOML, whole or not at all. Raises UsageError where it cannot be written."""
    write_whole(path, print_config(config))


def print_config(config: QuantConfig) -> str:
    """``config`` as TOML, every key with a comment that says what it does."""
    comments = _comments((LayerConfig, QuantConfig))
    lines = ["# edgevit quantization configuration", ""]
    for name in QuantConfig.model_fields:
        if name != "layers":
            lines += [f"# {comments[name]}", tomli_w.dumps({name: getattr(config, name)}).rstrip(), ""]
    lines += [
        "# Exceptions, in order; later ones win. `match` is a module path with * and ?;",
        "# `op` restricts it to ops of one name; any key from activation_bits to gelu may follow.",
        "# [[layers]]",
        '# match = "blocks.*.mlp.fc2"',
        '# observer = "percentile"',
    ]
    for override in config.layers:
        lines += ["", "[[layers]]", tomli_w.dumps(override.model_dump(exclude_none=True)).rstrip()]
    return "\n".join(lines) + "\n"


def _comments(models: Iterable[type[BaseModel]]) -> dict[str, str]:
    """The description of each key."""
    return {name: field.description or "" for model in models for name, field in model.model_fields.items()}


def _expectation(message: str, given: object) -> str:
    """pydantic's message, with the nearest of the admitted words where ``given`` is a misspelt one."""
    if isinstance(given, str):
        words = [part for part in message.split("'")[1::2] if part]
        near = difflib.get_close_matches(given, words, n=1, cutoff=0.4)
        if near:
            return f"{message}; did you mean {near[0]!r}?"
    return message
