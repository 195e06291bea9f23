"""I-ViT's Shiftmax without its defects: ``spec`` in Python integers, ``ref`` in numpy."""
