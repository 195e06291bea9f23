"""The Coral Edge TPU as a backend of edgevit: full-int8 TensorFlow Lite."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.backend import Emitted, Lowered, OnPass, Prepared, Problem, Tool
from edgevit.bundle import write_json
from edgevit.errors import BackendError, ToolNotFound
from edgevit.ir.graph import Graph
from edgevit.ir.types import Array, DType
from edgevit.passes.base import Pass
from edgevit.passes.pipeline import Pipeline
from edgevit.quant.config import QuantConfig
from edgevit.quant.constraints import INT8_POLICY, GridPolicy
from edgevit.quant.equalize import Equalize, channel_ranges
from edgevit.report.model import Fix

from . import compiler, legalize, lower
from .emit import to_model
from .execute import run_model
from .forms import by_loc, choose_forms, decision_row
from .input_grid import declare_signed_pixels
from .mapping import predict
from .reader import read
from .reporting import mapping_report, size_report
from .writer import write

ARTIFACT = "model.tflite"
COMPILED = "model_edgetpu.tflite"
MAPPING = "mapping.json"


class CoralBackend:
    """Full-int8 TFLite in the ops that edgetpu_compiler 16 maps."""

    name = "coral"
    description = "Coral Edge TPU: full-int8 TFLite, every op within what edgetpu_compiler 16 maps"

    def tools(self) -> list[Tool]:
        """The schema and interpreter package, and Coral's compiler."""
        litert = importlib.util.find_spec("ai_edge_litert")
        found = compiler.find_compiler()
        return [
            Tool(
                "ai_edge_litert",
                "TFLite schema and interpreter",
                str(litert.origin) if litert else "",
                "pip install 'edgevit[coral]'",
            ),
            Tool(
                "edgetpu_compiler",
                "compiles the model; without it the mapping is predicted",
                str(found or ""),
                "Coral's Debian package edgetpu-compiler (x86-64 Linux)",
                required=False,
            ),
        ]

    def passes(self, config: QuantConfig) -> list[Pass]:
        parts = (legalize.clean_up(), legalize.change_of_basis(config), legalize.expansion(config, {}, {}))
        return [item for part in parts for item in part.passes]

    def policy(self, options: Mapping[str, Any]) -> GridPolicy:
        """int8 kernels; the image and the logits are uint8 with ``io`` = ``uint8``, else int8."""
        outside = DType.U8 if options["io"] == "uint8" else DType.I8
        return replace(INT8_POLICY, pixel_dtype=outside, output_dtype=outside)

    def prepare(
        self, graph: Graph, images: Array, config: QuantConfig, policy: GridPolicy, on_pass: OnPass | None
    ) -> Prepared:
        prepared = legalize.clean_up().run(graph, on_pass=on_pass).graph
        if legalize.equalizes(config):
            equalize = Equalize(channel_ranges(prepared, [images], config), config)
            prepared = Pipeline((equalize,)).run(prepared, on_pass=on_pass).graph
        prepared = legalize.change_of_basis(config).run(prepared, on_pass=on_pass).graph
        choices = choose_forms(prepared, images, config, policy)
        pipeline = legalize.expansion(config, by_loc(choices, "norm"), by_loc(choices, "gelu"))
        return Prepared(pipeline.run(prepared, on_pass=on_pass).graph, tuple(map(decision_row, choices)))

    def check(self, graph: Graph) -> list[Problem]:
        return lower.problems(graph)

    def calibrated(self, graph: Graph) -> Graph:
        return legalize.fuse_relu_ranges(graph)

    def lower(self, graph: Graph) -> Lowered:
        return lower.lower(graph)

    def artifact_input(self, images: Array, options: Mapping[str, Any]) -> Array:
        """Pixels uint8 (S, H, W, 3) as the file's input (S, 1, H, W, 3)."""
        batch = images[:, None]
        return batch if options["io"] == "uint8" else (batch.astype(np.int16) - 128).astype(np.int8)

    def emit(self, graph: Graph, folder: Path, parameters: int, options: Mapping[str, Any]) -> Emitted:
        model = to_model(declare_signed_pixels(graph), f"edgevit {graph.name}")
        data = write(model)
        (folder / ARTIFACT).write_bytes(data)
        prediction = predict(model)
        reconciliation, run = compiler.compile_and_reconcile(data, prediction)
        if run is not None and run.compiled:
            (folder / COMPILED).write_bytes(run.compiled)
        write_json(folder / MAPPING, {**prediction.to_json(), "compiler": reconciliation.to_json()})
        compiled = run is not None and reconciliation.agreements > 0 and reconciliation.differing == 0
        fixes = tuple(
            Fix(title=fix.remedy, why=fix.why, effect=f"{fix.ops_freed} more ops on the Edge TPU")
            for fix in prediction.fixes()
        )
        return Emitted(
            ARTIFACT,
            reconciliation.status,
            mapping_report(model, prediction, compiled),
            size_report(model, len(data), parameters),
            fixes,
        )

    def run(self, folder: Path, inputs: Array, device: str) -> Array:
        """The outputs (S, *shape) of the bundle's model: ``reference`` by edgevit's kernels, ``host`` by LiteRT's
        reference kernels.

        Raises ToolNotFound where LiteRT is not installed, BackendError for another device.
        """
        if device == "reference":
            return run_model(read(folder / ARTIFACT), [inputs])[0]
        if device != "host":
            raise BackendError(f"no device {device!r} for verification", where="coral", hint="reference or host")
        if importlib.util.find_spec("ai_edge_litert") is None:
            raise ToolNotFound("ai_edge_litert is not installed", where="coral", hint="pip install 'edgevit[coral]'")
        from .runtime import open_session

        interpreter = open_session(folder / ARTIFACT, "cpu", reference=True).interpreter
        source, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
        outputs = []
        for sample in inputs:
            interpreter.set_tensor(source, sample)
            interpreter.invoke()
            outputs.append(interpreter.get_tensor(result))
        return np.stack(outputs)
