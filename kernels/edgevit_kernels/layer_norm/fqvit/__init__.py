"""LayerNorm of FQ-ViT on power-of-two-factor inputs: ``spec`` in Python integers, ``ref`` in numpy."""
