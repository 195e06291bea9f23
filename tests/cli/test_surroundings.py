"""`edgevit targets` and `edgevit doctor`."""

from __future__ import annotations

import json
import sys

import pytest

from edgevit import __version__
from edgevit.backend import Tool, load_backend
from edgevit.cli import surroundings
from tests.cli.invoke import invoke, succeed


def test_targets() -> None:
    outcome = succeed("targets")
    assert outcome.out.startswith("coral  Coral Edge TPU")
    assert "edgetpu_compiler" in outcome.out
    listed = json.loads(succeed("targets", "--json").out)
    (coral,) = (target for target in listed if target["name"] == "coral")
    assert coral["description"] == load_backend("coral").description
    assert {tool["name"] for tool in coral["tools"]} == {"ai_edge_litert", "edgetpu_compiler"}
    assert all(tool["remedy"] for tool in coral["tools"])


def test_doctor() -> None:
    outcome = succeed("doctor")
    assert outcome.out.startswith(f"edgevit {__version__}, Python {sys.version.split()[0]}")
    answer = json.loads(succeed("doctor", "--json").out)
    names = [tool["name"] for tool in answer["tools"]]
    assert len(names) == len(set(names))
    assert {"torch", "timm", "ai_edge_litert", "jinja2", "plotly", "edgetpu_compiler"} <= set(names)
    assert all(name in outcome.out for name in names)
    assert answer["edgevit"] == __version__


def test_remedies_are_printed_as_they_are_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Square brackets of extras are no markup, and no line is broken."""
    remedy = "pip install 'edgevit[a-very-long-name]' " + "and more " * 20
    monkeypatch.setattr(surroundings, "PACKAGES", (("no_such_package", "nothing", remedy),))
    assert remedy.strip() in succeed("doctor").out
    monkeypatch.setattr("edgevit_coral.backend.CoralBackend.tools", lambda self: [Tool("x", "nothing", "", remedy)])
    assert remedy.strip() in succeed("targets").out


def test_a_broken_plug_in_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    broken = EntryPoint(name="odd", value="no_such_module:Backend", group="edgevit.backends")
    monkeypatch.setattr("edgevit.backend.entry_points", lambda group: (broken,))
    for command in ("targets", "doctor"):
        outcome = invoke(command)
        assert outcome.code == 3
        assert "error: odd: the plug-in no_such_module:Backend does not load" in outcome.err
        assert "Traceback" not in outcome.err
