"""The embedded model in integers alone, with every set of forms: errors of the operators, top-1, agreement with float.

    python benchmarks/integer_forms.py --images PATH.npz [--limit N] [--output FILE.json] [--only NAME ...]

The model is calibrated once on its own 256 calibration images for each width of the residual stream and lowered once
for each set. Errors are those of the operators on the integers that the model really gives them, against the real
function of the same integers: softmax in probabilities, GELU and LayerNorm in steps of their result, inside its grid.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from edgevit.bundle import write_json
from edgevit.data import open_images
from edgevit.embedded import CLASSES, PREPROCESS, calibration
from edgevit.frontend import load_model, lower
from edgevit.integer import ops
from edgevit.integer.factors import choose_factors
from edgevit.integer.forms import SETS, Forms
from edgevit.integer.leak import find_leaks
from edgevit.integer.lower import ToInteger
from edgevit.integer.prepare import float_passes, integer_config, integer_policy
from edgevit.ir.graph import Graph
from edgevit.ir.interp import run
from edgevit.ir.op import Op
from edgevit.ir.types import Array, dequantize_array
from edgevit.ir.verify import verify
from edgevit.metrics.accuracy import logits
from edgevit.quant.calibrate import calibrate
from edgevit.quant.quantize import QuantizeGraph
from edgevit.quant.walk import as_input

ERROR_IMAGES = 32
BATCH = 100
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Variant:
    """One row of the table."""

    name: str
    forms: Forms
    stream_bits: int = 16


VARIANTS = (
    *(Variant(name, forms) for name, forms in SETS.items()),
    Variant("ivit, 8-bit softmax", replace(SETS["ivit"], softmax_bits=8)),
    Variant("edgevit, 8-bit stream", SETS["edgevit"], stream_bits=8),
)


@dataclass
class Error:
    """Absolute errors of one operator over all its ops."""

    largest: float = 0.0
    total: float = 0.0
    count: int = 0

    def add(self, error: Doubles) -> None:
        """Count more of them."""
        self.largest = max(self.largest, float(error.max()))
        self.total += float(error.sum())
        self.count += error.size

    @property
    def mean(self) -> float:
        """The mean of all."""
        return self.total / max(self.count, 1)


@dataclass
class Errors:
    """Errors of the operators; ``mass`` is what rows of probabilities sum to, as 1 + total / count."""

    softmax: Error = field(default_factory=Error)
    mass: Error = field(default_factory=Error)
    gelu: Error = field(default_factory=Error)
    layer_norm: Error = field(default_factory=Error)

    def observe(self, op: Op, operand: Array, result: Array) -> None:
        """Compare one op's result with the real function of its operand."""
        x, y = dequantize_array(operand, op.operands[0].type), dequantize_array(result, op.type)
        if isinstance(op, ops.Softmax):
            self.softmax.add(np.abs(y - special.softmax(x, axis=-1)))
            self.mass.total += float((y.sum(axis=-1) - 1).sum())
            self.mass.count += y[..., 0].size
        elif isinstance(op, ops.Gelu):
            self.gelu.add(_steps(op, y, x * special.ndtr(x)))
        elif isinstance(op, ops.LayerNorm):
            centred = x - x.mean(axis=-1, keepdims=True)
            deviation = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + 1e-6)
            self.layer_norm.add(_steps(op, y, centred / deviation))


def _steps(op: Op, found: Doubles, wanted: Doubles) -> Doubles:
    """The distance in steps of the op's grid, ``wanted`` limited to it."""
    assert op.type.quant is not None
    scale, zero_point = float(op.type.quant.scale[0]), op.type.quant.zero_point[0]
    low, high = (scale * (limit - zero_point) for limit in op.type.dtype.limits)
    error: Doubles = np.abs(found - np.clip(wanted, low, high)) / scale
    return error


def measure_errors(graph: Graph, images: Array) -> Errors:
    """The errors of all operators of an integer graph on images (S, H, W, 3)."""
    errors = Errors()
    wanted = {operand for op in graph.ops if isinstance(op, ops.FormOp) for operand in op.operands}
    values: dict[Op, Array] = {}

    def observe(op: Op, array: Array) -> None:
        if isinstance(op, ops.FormOp):
            errors.observe(op, values[op.operands[0]], array)
        if op in wanted:
            values[op] = array

    run(graph, [as_input(graph, images[:, None])], observe)
    return errors


def quantized(prepared: Graph, images: Array, stream_bits: int) -> Graph:
    """The quantized form with a residual stream of 8 or 16 bits."""
    config, policy = integer_config(), integer_policy(16 if stream_bits == 16 else 8)
    calibrated = calibrate(prepared, [images], config, constraints=policy)
    return QuantizeGraph(config, policy).run(calibrated)


def main() -> int:
    """Measure, print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--images", type=Path, required=True, help="an .npz of labelled pictures")
    parser.add_argument("--limit", type=int, default=None, help="how many of them, drawn by a fixed seed")
    parser.add_argument("--output", type=Path, default=Path("integer_forms.json"))
    parser.add_argument("--only", nargs="*", choices=[variant.name for variant in VARIANTS])
    options = parser.parse_args()
    variants = [variant for variant in VARIANTS if not options.only or variant.name in options.only]

    start = time.perf_counter()
    reference = lower(load_model("embedded"))
    prepared = float_passes().run(reference).graph
    calibrating = np.concatenate([batch.images for batch in calibration().batches(64)])
    graphs: dict[str, Graph] = {}
    errors: dict[str, Errors] = {}
    for bits in sorted({variant.stream_bits for variant in variants}):
        source = quantized(prepared, calibrating, bits)
        factors = choose_factors(source, calibrating)
        for variant in variants:
            if variant.stream_bits == bits:
                graph = ToInteger(variant.forms, factors).run(source)
                verify(graph)
                assert not find_leaks(graph)
                graphs[variant.name] = graph
                errors[variant.name] = measure_errors(graph, calibrating[:ERROR_IMAGES])

    tested = open_images(str(options.images), size=PREPROCESS.size, limit=options.limit, purpose="evaluation")
    correct = dict.fromkeys(["float", *graphs], 0)
    agreeing = dict.fromkeys(graphs, 0)
    signal, noise, images = 0.0, dict.fromkeys(graphs, 0.0), 0
    for batch in tested.batches(BATCH):
        assert batch.labels is not None
        exact = logits(reference, batch.images)
        predicted = exact.argmax(axis=1)
        images += len(predicted)
        correct["float"] += int((predicted == batch.labels).sum())
        signal += float(np.square(exact).sum())
        for name, graph in graphs.items():
            found = logits(graph, batch.images)
            answered = found.argmax(axis=1)
            correct[name] += int((answered == batch.labels).sum())
            agreeing[name] += int((answered == predicted).sum())
            noise[name] += float(np.square(found - exact).sum())
        print(f"\r{images} images", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)

    rows: list[dict[str, Any]] = []
    for variant in variants:
        name, found_errors = variant.name, errors[variant.name]
        rows.append(
            {
                "name": name,
                "forms": asdict(variant.forms),
                "stream_bits": variant.stream_bits,
                "softmax_error_max": found_errors.softmax.largest,
                "softmax_error_mean": found_errors.softmax.mean,
                "softmax_row_sum_mean": 1 + found_errors.mass.mean,
                "gelu_error_max_steps": found_errors.gelu.largest,
                "gelu_error_mean_steps": found_errors.gelu.mean,
                "layer_norm_error_max_steps": found_errors.layer_norm.largest,
                "layer_norm_error_mean_steps": found_errors.layer_norm.mean,
                "top1": correct[name] / images,
                "drop_points": 100 * (correct["float"] - correct[name]) / images,
                "agreement": agreeing[name] / images,
                "logits_sqnr_db": 10 * np.log10(signal / noise[name]),
            }
        )
    result = {
        "model": "embedded",
        "classes": len(CLASSES),
        "calibration_images": len(calibrating),
        "images": images,
        "source": options.images.name,
        "top1_float": correct["float"] / images,
        "seconds": time.perf_counter() - start,
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "rows": rows,
    }
    write_json(options.output, result)
    print(table(result))
    return 0


def table(result: dict[str, Any]) -> str:
    """The rows as a Markdown table."""
    lines = [
        f"{result['images']} images, float top-1 {100 * result['top1_float']:.2f} %",
        "",
        "| set | softmax error max, mean | row sum | GELU max, mean | LayerNorm max, mean "
        "| top-1 | drop | agreement | SQNR |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        cells = [
            row["name"],
            f"{row['softmax_error_max']:.4f}, {row['softmax_error_mean']:.5f}",
            f"{row['softmax_row_sum_mean']:.3f}",
            f"{row['gelu_error_max_steps']:.2f}, {row['gelu_error_mean_steps']:.2f}",
            f"{row['layer_norm_error_max_steps']:.2f}, {row['layer_norm_error_mean_steps']:.3f}",
            f"{100 * row['top1']:.2f} %",
            f"{row['drop_points']:+.2f}",
            f"{100 * row['agreement']:.2f} %",
            f"{row['logits_sqnr_db']:.1f} dB",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
