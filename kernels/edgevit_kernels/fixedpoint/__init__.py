"""Fixed-point primitives of gemmlowp and TFLite's reference kernels: ``spec`` in Python integers, ``ref`` in numpy."""
