"""GELU read from a table, or from a piecewise linear one for 16-bit inputs: ``spec`` and ``ref``."""
