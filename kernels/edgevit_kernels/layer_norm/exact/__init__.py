"""LayerNorm with one rounding and a proven error: ``spec`` in Python integers, ``ref`` in numpy."""
