"""Any function of one 8-bit tensor as a table of 256 entries: ``spec`` in Python integers, ``ref`` in numpy."""
