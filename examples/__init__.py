"""Programs that make what the package ships; run from the root of the checkout with ``python -m examples.NAME``."""
