"""ShiftGELU of I-ViT without its overflows and its coupling of elements: ``spec`` and ``ref``."""
