"""A model by its name: where it comes from, how its pixels are normalized, and a hash of its weights.

embedded                      the trained model that is part of the package
timm:NAME                     an architecture of timm with random weights, timm:NAME?pretrained=true to download them
PATH.pt2                      a program saved by torch.export.save
FILE.py:CALLABLE              a function of your own that returns a module (this runs FILE.py)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevit.data.preprocess import Preprocess
from edgevit.errors import FrontendError, ToolNotFound, UsageError

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

DEFAULT_SIZE = (224, 224)
SPELLINGS = "embedded, timm:NAME, PATH.pt2 or FILE.py:CALLABLE"


@dataclass(frozen=True)
class LoadedModel:
    """A captured model and what is known of it.

    ``module`` is the model itself where there is one (a .pt2 holds only the program); ``classes`` are the names of the
    classes where they are known; ``weights_sha256`` covers names, shapes, types and bytes of all tensors.
    """

    name: str
    program: ExportedProgram
    preprocess: Preprocess
    num_classes: int
    weights_sha256: str
    classes: tuple[str, ...] | None = None
    module: torch.nn.Module | None = None

    @property
    def parameters(self) -> int:
        """Number of elements of the program's parameters; one that several modules share counts once."""
        names = self.program.graph_signature.parameters
        shared = {id(tensor): tensor for tensor in map(self.program.state_dict.__getitem__, names)}
        return sum(tensor.numel() for tensor in shared.values())


@dataclass(frozen=True)
class _Found:
    """What a kind of source yields: a module or a program, with what it says of itself."""

    name: str
    model: Any
    preprocess: Preprocess | None = None
    classes: tuple[str, ...] | None = None


def load_model(
    spec: str | Path | torch.nn.Module | ExportedProgram,
    *,
    weights: str | Path | None = None,
    input_size: tuple[int, int] | None = None,
    preprocess: Preprocess | None = None,
    seed: int = 0,
) -> LoadedModel:
    """Load and capture the model that ``spec`` names, or that it is.

    ``weights`` is a state dict (safetensors, or torch.save read with weights_only=True) for a module. ``input_size``
    (height, width) in pixels overrides the model's own, ``preprocess`` its normalization as well. ``seed`` draws random
    weights.

    Raises UsageError for a spec that names nothing, FrontendError for a model or file that cannot be used, ToolNotFound
    without torch or timm.
    """
    try:
        import torch
        from torch.export import ExportedProgram
    except ModuleNotFoundError as error:
        hint = "pip install 'edgevit[torch]'"
        raise ToolNotFound(f"{error.name} is not installed", where=str(spec), hint=hint) from error
    from edgevit.frontend.capture import capture, logits_output
    from edgevit.frontend.weights import load_weights

    if isinstance(spec, (torch.nn.Module, ExportedProgram)):
        found = _Found(type(spec).__name__, spec)
    else:
        found = _find(str(spec), input_size, seed)

    if isinstance(found.model, ExportedProgram):
        if weights is not None:
            raise UsageError("a program has its weights inside", where=found.name, hint="leave out the weights")
        program, module = found.model, None
        chosen = _fitted(program, preprocess or found.preprocess, input_size, found.name)
    else:
        module = found.model
        if weights is not None:
            load_weights(module, Path(weights))
        base = preprocess or found.preprocess or Preprocess(size=DEFAULT_SIZE)
        chosen = base if input_size is None else base.model_copy(update={"size": input_size})
        program = capture(module, chosen.size, found.name)
    classes = logits_output(program, found.name)[1]
    names = found.classes if found.classes is not None and len(found.classes) == classes else None
    return LoadedModel(found.name, program, chosen, classes, hash_weights(program), names, module)


def hash_weights(program: ExportedProgram) -> str:
    """SHA-256 over all tensors in the order of their names, in hexadecimal digits."""
    import torch

    from edgevit.frontend.capture import tensors

    digest = hashlib.sha256()
    for name, tensor in tensors(program):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        contiguous = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(contiguous.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _find(spec: str, input_size: tuple[int, int] | None, seed: int) -> _Found:
    path, colon, attribute = spec.rpartition(":")
    if spec == "embedded":
        from edgevit import embedded

        return _Found("embedded", embedded.load_model(), embedded.PREPROCESS, embedded.CLASSES)
    if spec.startswith("timm:"):
        from edgevit.frontend.timm_zoo import load_timm

        module, preprocess = load_timm(spec.removeprefix("timm:"), input_size, seed)
        return _Found(spec.removeprefix("timm:").partition("?")[0], module, preprocess)
    if spec.endswith(".pt2"):
        from edgevit.frontend.pt2 import load_pt2

        return _Found(Path(spec).stem, load_pt2(Path(spec)))
    if colon and path.endswith(".py"):
        from edgevit.frontend.pyfile import load_callable

        return _Found(attribute, *load_callable(Path(path), attribute, seed))
    raise _unknown(spec)


def _unknown(spec: str) -> UsageError | FrontendError:
    hint = f"name a model as {SPELLINGS}"
    if spec.endswith(".py"):
        return UsageError("a Python file needs the name of a callable", where=spec, hint=f"{spec}:build_model")
    if spec.endswith(".onnx"):
        hint = "save the PyTorch model with torch.export.save and give the .pt2"
        return FrontendError("ONNX files cannot be read by this version", where=spec, hint=hint)
    if spec.endswith((".pt", ".pth", ".bin", ".ckpt", ".safetensors")):
        hint = "name the architecture as the model (timm:NAME or FILE.py:CALLABLE) and give this file as --weights"
        return UsageError("weights alone are no model", where=spec, hint=hint)
    return UsageError("no such model", where=spec, hint=hint)


def _fitted(
    program: ExportedProgram, preprocess: Preprocess | None, input_size: tuple[int, int] | None, name: str
) -> Preprocess:
    """The preprocessing with the size that the program was exported for, which nothing can change."""
    from edgevit.frontend.capture import image_input

    image = image_input(program, name)
    size = (image.height, image.width)
    if input_size is not None and input_size != size:
        what = f"the program was exported for {size[0]}x{size[1]} pixels, not {input_size[0]}x{input_size[1]}"
        raise UsageError(what, where=name, hint="export it again at the other size")
    return (preprocess or Preprocess(size=size)).model_copy(update={"size": size})
