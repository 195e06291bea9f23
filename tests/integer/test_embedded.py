"""The trained model in integers alone."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.embedded import calibration, evaluation
from edgevit.frontend import load_model, lower
from edgevit.integer.forms import SETS
from edgevit.integer.leak import find_leaks
from edgevit.integer.lower import ToInteger
from edgevit.integer.prepare import float_passes, integer_config, integer_policy
from edgevit.ir.graph import Form, Graph
from edgevit.ir.types import DType
from edgevit.metrics.accuracy import logits
from edgevit.quant.calibrate import calibrate
from edgevit.quant.quantize import QuantizeGraph
from tests.tools import requires

pytestmark = requires("torch")

IMAGES = 100


@pytest.fixture(scope="module")
def reference() -> Graph:
    return lower(load_model("embedded"))


@pytest.fixture(scope="module")
def quantized(reference: Graph) -> Graph:
    config, policy = integer_config(), integer_policy()
    images = next(iter(calibration().batches(64))).images
    calibrated = calibrate(float_passes().run(reference).graph, [images], config, constraints=policy)
    return QuantizeGraph(config, policy).run(calibrated)


@pytest.mark.parametrize("name", ["edgevit", "ibert_repaired"])
def test_at_least_95_of_100_predictions_are_those_of_the_float_model(
    name: str, reference: Graph, quantized: Graph
) -> None:
    """Measured: 99 with both sets."""
    graph = ToInteger(SETS[name]).run(quantized)
    assert graph.form is Form.INTEGER
    assert find_leaks(graph) == []
    assert graph.inputs[0].type.dtype is DType.U8
    images = next(iter(evaluation().batches(IMAGES))).images
    agreeing = int(np.sum(logits(graph, images).argmax(axis=1) == logits(reference, images).argmax(axis=1)))
    assert agreeing >= 95
