"""Figures that are computed from graphs and runs: accuracy, and later cost, EER and latency statistics."""
