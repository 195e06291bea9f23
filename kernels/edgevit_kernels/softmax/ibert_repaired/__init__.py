"""I-BERT's i-softmax in 32 bits and with rounding: ``spec`` in Python integers, ``ref`` in numpy."""
