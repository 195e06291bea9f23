"""FQ-ViT's log-int-softmax as published: ``spec`` in Python integers, ``ref`` in numpy."""
