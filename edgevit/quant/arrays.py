"""The type of run-time arrays here: any element type, as the same code sees real numbers and integers."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

Numbers = NDArray[Any]
