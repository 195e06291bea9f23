"""Passes: each a frozen dataclass with a pure ``run(graph) -> graph``, one a file. ``pipeline`` puts them in a row."""
