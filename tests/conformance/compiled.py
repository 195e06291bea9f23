"""A model compiled for the Edge TPU, with the three ways to run it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgevit.backend import Emitted
from edgevit.export.compile import Compiled, compile_model
from edgevit.export.options import ExportOptions
from edgevit.export.trace import Silent
from edgevit.ir.interp import run
from edgevit.quant.walk import as_input
from edgevit_coral.backend import ARTIFACT
from edgevit_coral.execute import run_model
from edgevit_coral.model import TfliteModel
from edgevit_coral.reader import read
from edgevit_coral.runtime import open_session


@dataclass(frozen=True, eq=False)
class Exported:
    """A compiled model and its file."""

    compiled: Compiled
    emitted: Emitted
    path: Path

    @cached_property
    def model(self) -> TfliteModel:
        """The file as it is read back."""
        return read(self.path)

    def by_kernels(self, images: NDArray[np.uint8]) -> NDArray[np.generic]:
        """Outputs (S, classes) of the file by edgevit's kernels for raw pixels (S, H, W, 3)."""
        return run_model(self.model, [self._inputs(images)])[0].reshape(len(images), -1)

    def by_interpreter(self, images: NDArray[np.uint8]) -> NDArray[np.generic]:
        """The same by the interpreter on the lowered graph, which is not the file's in the grid of the image."""
        graph = self.compiled.lowered.graph
        result: NDArray[np.generic] = run(graph, [as_input(graph, images[:, None])])[0]
        return result.reshape(len(images), -1)

    def by_litert(self, images: NDArray[np.uint8]) -> NDArray[np.generic]:
        """The same by LiteRT with its reference kernels (BUILTIN_REF)."""
        interpreter = open_session(self.path, "cpu", reference=True).interpreter
        source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        outputs = []
        for sample in self._inputs(images):
            interpreter.set_tensor(source["index"], sample)
            interpreter.invoke()
            outputs.append(interpreter.get_tensor(result["index"]).reshape(-1))
        return np.stack(outputs)

    def _inputs(self, images: NDArray[np.uint8]) -> NDArray[np.generic]:
        return self.compiled.backend.artifact_input(images, self.compiled.options.target_options)


def export(options: ExportOptions, folder: Path) -> Exported:
    """Compile, and emit into ``folder``; no golden outputs, report or bundle."""
    compiled = compile_model(options, Silent())
    graph = compiled.lowered.graph
    emitted = compiled.backend.emit(graph, folder, compiled.model.parameters, options.target_options)
    return Exported(compiled, emitted, folder / ARTIFACT)
