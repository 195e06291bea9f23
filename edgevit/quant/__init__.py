"""Post-training quantization: from a float graph and calibration images to a graph of integers.

In data-flow order: ``config`` (what a person chooses), ``observers`` on ``histogram`` (ranges of values), ``grids``
(ranges to grids), ``constraints`` (what the target demands), ``equalize``, ``weights``, ``calibrate`` with
``sequential``, ``quantize``, ``bias_correction`` and ``sqnr``.
"""
