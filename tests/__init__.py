"""Tests of edgevit; the folders mirror the source, and ``tests/tools.py`` says which tools a test may ask for."""
