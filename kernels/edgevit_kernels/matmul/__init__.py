"""Integer matrix product with 32-bit accumulators and requantization: ``spec`` in Python integers, ``ref`` in numpy."""
