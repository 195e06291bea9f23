"""ShiftGELU of I-ViT as published: ``spec`` in Python integers, ``ref`` in numpy."""
