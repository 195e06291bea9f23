"""Residual addition of two quantized tensors, in two forms: ``spec`` in Python integers, ``ref`` in numpy."""
