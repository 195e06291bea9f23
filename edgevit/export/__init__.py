"""The export: from a model's name to a bundle, one stage after the other."""

from edgevit.export.compile import Compiled, compile_model
from edgevit.export.options import ExportOptions, Monitor, check_options

__all__ = ["Compiled", "ExportOptions", "Monitor", "check_options", "compile_model"]
