"""I-ViT's Shiftmax as published: ``spec`` in Python integers, ``ref`` in numpy."""
