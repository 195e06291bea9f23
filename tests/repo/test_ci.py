"""Continuous integration claims every tool that the tests know, and ends with the tests themselves."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests import tools


def test_every_tool_is_claimed(repo: Path) -> None:
    script = (repo / ".ci" / "run").read_text(encoding="utf-8")
    claims = re.findall(rf"{tools.ENVIRONMENT_VARIABLE}\+?=([\w,]+)", script)
    assert {name for claim in claims for name in claim.split(",") if name} == set(tools.TOOLS)


def test_it_is_runnable_and_stops_at_the_first_failure(repo: Path) -> None:
    script = repo / ".ci" / "run"
    assert os.access(script, os.X_OK)
    first, *rest = [line for line in script.read_text(encoding="utf-8").splitlines() if not line.startswith("# ")]
    assert (first, rest[0]) == ("#!/usr/bin/env bash", "set -euo pipefail")
    assert rest[-2:] == ["make lint", "make test"]
