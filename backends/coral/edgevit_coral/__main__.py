"""``python -m edgevit_coral``: see `edgevit_coral.runner`."""

from __future__ import annotations

import sys

from edgevit_coral.runner import main

sys.exit(main())
