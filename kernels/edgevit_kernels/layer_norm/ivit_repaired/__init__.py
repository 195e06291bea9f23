"""I-LayerNorm of I-ViT, its defects repaired: ``spec`` in Python integers, ``ref`` in numpy."""
