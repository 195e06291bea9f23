"""i-GELU of I-BERT: ``spec`` in Python integers, ``ref`` in numpy."""
