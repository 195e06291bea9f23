"""FQ-ViT's log-int-softmax in 32 bits: ``spec`` in Python integers, ``ref`` in numpy."""
