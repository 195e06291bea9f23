"""LayerNorm of I-BERT, with i-sqrt: ``spec`` in Python integers, ``ref`` in numpy."""
