"""Evaluators of the core ops. Importing this package registers them with ``edgevit.ir.interp``."""

from edgevit.ir.evaluate import compute, convolution, layout

__all__ = ["compute", "convolution", "layout"]
