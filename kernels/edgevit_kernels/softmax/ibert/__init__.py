"""I-BERT's i-softmax as published: ``spec`` in Python integers, ``ref`` in numpy."""
