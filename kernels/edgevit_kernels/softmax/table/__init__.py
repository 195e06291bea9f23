"""Softmax by a table of exponentials, edgevit's own form: ``spec`` in Python integers, ``ref`` in numpy."""
