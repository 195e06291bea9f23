"""From PyTorch to the float IR.

    load_model("timm:deit_tiny_patch16_224")    a model by its name, its file or itself
    lower(module | program | loaded model)      its verified float graph, pixels to logits

torch and timm are imported by the functions that need them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgevit.frontend.source import LoadedModel, load_model

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

    from edgevit.data.preprocess import Preprocess
    from edgevit.ir.graph import Graph

__all__ = ["LoadedModel", "load_model", "lower"]


def lower(
    source: torch.nn.Module | ExportedProgram | LoadedModel,
    *,
    input_size: tuple[int, int] | None = None,
    preprocess: Preprocess | None = None,
) -> Graph:
    """The float graph of a model: raw pixels f32[1,H,W,3] in 0..255 to logits f32[1,classes].

    ``input_size`` (height, width) is 224x224 for a module that does not say, ``preprocess`` the ImageNet normalization;
    a :class:`LoadedModel` has both already. Raises :class:`edgevit.errors.FrontendError`, which lists every operator
    that has no lowering.
    """
    from edgevit.frontend.lowering import lower_program

    loaded = source
    if not isinstance(loaded, LoadedModel):
        loaded = load_model(loaded, input_size=input_size, preprocess=preprocess)
    return lower_program(loaded.program, loaded.preprocess, loaded.name)
