"""Integer convolution, channels last, with 32-bit accumulators: ``spec`` in Python integers, ``ref`` in numpy."""
