"""The command line: the only part that sees the whole."""

from edgevit.cli.main import app, main

__all__ = ["app", "main"]
