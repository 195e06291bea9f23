"""The export: from a model's name to a bundle, one stage after the other."""

from edgevit.export.compile import Compiled, compile_model
from edgevit.export.options import ExportOptions, Monitor, check_options
from edgevit.export.write import ExportResult, export_bundle

__all__ = ["Compiled", "ExportOptions", "ExportResult", "Monitor", "check_options", "compile_model", "export_bundle"]
