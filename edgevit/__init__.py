"""edgevit takes Vision Transformers to edge devices.

A model is captured, raised to a small IR, rewritten, quantized and emitted for a target as a bundle that can be
verified on any machine. ARCHITECTURE.md draws the flow; ``edgevit.cli`` is the command line.
"""

__version__ = "0.1.0"
