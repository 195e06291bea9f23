"""From a module to an exported program, and what a program has to be like: one image in, logits out, finite weights."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgevit.errors import FrontendError

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

AXES = ("batch", "channels", "height", "width")
RE_EXPORT = "export it again with static shapes: torch.export.export(model.eval(), (torch.zeros(1, 3, height, width),))"
SHOWN = 8
"""How many names an error message lists before it only counts."""


@dataclass(frozen=True)
class ImageInput:
    """The program's image: the placeholder's name, and channels, height and width in pixels."""

    name: str
    channels: int
    height: int
    width: int


def capture(module: torch.nn.Module, size: tuple[int, int], name: str) -> ExportedProgram:
    """The exported program of ``module`` in evaluation mode, for one float32 image (1, channels, *size).

    The module is left in the mode that it was in. Raises FrontendError for a module that does not take exactly one
    image, and for whatever torch.export makes of it.
    """
    import torch

    _check_forward(module, name)
    image = torch.zeros(1, image_channels(module), *size)
    modes = {part: part.training for part in module.modules()}
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # torch warns of its own deprecations, and of caches that a model fills while it runs.
            warnings.simplefilter("ignore")
            return torch.export.export(module.eval(), (image,), strict=False)
    except Exception as error:  # torch.export runs the model's own code, which may raise anything
        first = next(iter(str(error).strip().splitlines()), "no message")
        raise FrontendError(
            f"torch.export could not capture it ({type(error).__name__}: {first})",
            where=name,
            hint=f"it is run on an image of shape {list(image.shape)}: see that model.eval()(image) works, and that no"
            " branch depends on pixels",
        ) from error
    finally:
        for part, training in modes.items():
            part.training = training


def decompose(program: ExportedProgram, table: dict[Any, Any]) -> ExportedProgram:
    """The program in functional form, without subgraphs, and with the operators of ``table`` decomposed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decomposed: ExportedProgram = program.run_decompositions(table)
    return decomposed


def image_channels(module: torch.nn.Module) -> int:
    """1 where the first convolution takes grey images, else 3."""
    import torch

    first = next((part for part in module.modules() if isinstance(part, torch.nn.Conv2d)), None)
    return 1 if first is not None and first.in_channels == 1 else 3


def image_input(program: ExportedProgram, name: str) -> ImageInput:
    """The program's one input, checked to be one float image of static shape with 1 or 3 channels."""
    wanted = set(program.graph_signature.user_inputs)
    inputs = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in wanted]
    if len(inputs) != 1 or len(wanted) != 1:
        listed = ", ".join(f"{node.name} {_shape_text(node)}" for node in inputs) or "none that is a tensor"
        raise FrontendError(
            f"a model takes one image, this one has {len(wanted)} inputs: {listed}",
            where=name,
            hint="wrap it in a module whose forward takes the image and supplies the rest",
        )
    shape = _shape(inputs[0])
    hint = "edgevit takes image models, whose input is (1, channels, height, width)"
    if shape is None or len(shape) != 4:
        raise FrontendError(f"input {inputs[0].name} {_shape_text(inputs[0])} is no image", where=name, hint=hint)
    dynamic = [f"{axis} (dimension {i}, {shape[i]})" for i, axis in enumerate(AXES) if not isinstance(shape[i], int)]
    if dynamic:
        raise FrontendError(f"input {inputs[0].name} has dynamic {', '.join(dynamic)}", where=name, hint=RE_EXPORT)
    batch, channels, height, width = shape
    dtype = inputs[0].meta["val"].dtype
    if batch != 1:
        raise FrontendError(f"the model is fixed to batches of {batch}, wanted 1", where=name, hint=RE_EXPORT)
    if channels not in (1, 3):
        raise FrontendError(f"an image of {channels} channels, wanted 3 (RGB) or 1 (grey)", where=name, hint=hint)
    if not dtype.is_floating_point:
        raise FrontendError(f"input {inputs[0].name} is {dtype}, wanted normalized floats", where=name, hint=hint)
    return ImageInput(inputs[0].name, channels, height, width)


def logits_output(program: ExportedProgram, name: str) -> tuple[torch.fx.Node, int]:
    """The node whose value are the logits, and the number of classes."""
    wanted = program.graph_signature.user_outputs
    (output,) = (node for node in program.graph.nodes if node.op == "output")
    found = {str(getattr(value, "name", value)): value for value in output.args[0]}
    nodes = [found[str(each)] for each in wanted]
    listed = ", ".join(f"{node} {_shape_text(node)}" for node in nodes)
    if len(nodes) != 1:
        raise FrontendError(
            f"a model gives logits, this one has {len(nodes)} outputs: {listed}",
            where=name,
            hint="wrap it in a module that returns the logits alone; in evaluation mode most models do",
        )
    shape = _shape(nodes[0])
    if shape is None or len(shape) != 2 or not all(isinstance(size, int) for size in shape) or shape[0] != 1:
        raise FrontendError(
            f"output {listed} is not logits of shape [1, classes]",
            where=name,
            hint="edgevit takes classifiers; add the pooling and the head",
        )
    return nodes[0], int(shape[1])


def tensors(program: ExportedProgram) -> Iterator[tuple[str, torch.Tensor]]:
    """Every parameter, buffer and constant tensor by its name, sorted."""
    import torch

    merged: dict[str, Any] = {**program.constants, **program.state_dict}
    for key in sorted(merged):
        if isinstance(merged[key], torch.Tensor):
            yield key, merged[key]


def check_finite(program: ExportedProgram, name: str) -> None:
    """Raise FrontendError naming every parameter that is not finite. A buffer may hold -inf, as attention masks do."""
    import torch

    parameters = set(program.graph_signature.parameters)
    bad = []
    for key, tensor in tensors(program):
        if not tensor.is_floating_point():
            continue
        fine = torch.isfinite(tensor)
        if key not in parameters:
            fine |= torch.isneginf(tensor)
        if not bool(fine.all()):
            bad.append(f"{key} ({int((~fine).sum())} of {tensor.numel()} elements)")
    if bad:
        more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise FrontendError(
            f"NaN or infinite weights in {', '.join(bad[:SHOWN])}{more}",
            where=name,
            hint="the training diverged or the file is damaged: take an earlier checkpoint",
        )


def _check_forward(module: torch.nn.Module, name: str) -> None:
    """Tell how many inputs are missing before torch.export fails on them in its own words."""
    parameters = inspect.signature(module.forward).parameters.values()
    needed = [
        each.name
        for each in parameters
        if each.default is each.empty and each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    if len(needed) > 1:
        raise FrontendError(
            f"a model takes one image, this one's forward needs {len(needed)} inputs: {', '.join(needed)}",
            where=name,
            hint="wrap it in a module whose forward takes the image and supplies the rest",
        )


def _shape(node: Any) -> tuple[Any, ...] | None:
    value: Any = getattr(node, "meta", {}).get("val")
    return tuple(value.shape) if hasattr(value, "shape") else None


def _shape_text(node: Any) -> str:
    shape = _shape(node)
    return "(no tensor)" if shape is None else f"[{', '.join(map(str, shape))}]"
