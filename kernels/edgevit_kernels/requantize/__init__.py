"""Dyadic requantization of 32-bit accumulators: ``spec`` in Python integers, ``ref`` in numpy."""
