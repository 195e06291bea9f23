"""Backends are found by entry points, and what is wrong with one is said, not passed over."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from edgevit import backend
from edgevit.backend import Problem, Tool, backend_names, load_backend, missing_tools
from edgevit.errors import BackendError, UsageError


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=backend.GROUP)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """The entry points that are found, to be changed by a test."""
    found = [entry("coral", "edgevit_coral.backend:CoralBackend")]
    monkeypatch.setattr(backend, "entry_points", lambda group: tuple(found) if group == "edgevit.backends" else ())
    return found


def test_the_installed_package_brings_coral() -> None:
    assert "coral" in backend_names()
    assert load_backend("coral").name == "coral"


def test_an_unknown_target_suggests_a_near_one(installed: list[EntryPoint]) -> None:
    with pytest.raises(UsageError, match="no target 'corral'") as caught:
        load_backend("corral")
    assert caught.value.hint == "did you mean 'coral'?"
    installed.append(entry("fpga", "edgevit_fpga:Backend"))
    with pytest.raises(UsageError) as caught:
        load_backend("zzz")
    assert caught.value.hint == "targets: coral, fpga"
    installed.clear()
    with pytest.raises(UsageError) as caught:
        load_backend("coral")
    assert caught.value.hint == "targets: none is installed"


def explode() -> object:
    raise RuntimeError("no driver")


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("no_such_module:Backend", "No module named 'no_such_module'"),
        ("edgevit_plugin:Missing", "Missing"),
        ("edgevit_plugin:explode", "no driver"),
        ("edgevit_plugin:number", "not callable"),
    ],
)
def test_a_plug_in_that_does_not_load(
    value: str, word: str, installed: list[EntryPoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = ModuleType("edgevit_plugin")
    vars(plugin).update(explode=explode, number=3)
    monkeypatch.setitem(sys.modules, "edgevit_plugin", plugin)
    installed.append(entry("odd", value))
    with pytest.raises(BackendError, match="does not load") as caught:
        load_backend("odd")
    assert caught.value.where == "odd"
    assert word in caught.value.what
    assert value in caught.value.what
    assert caught.value.hint
    assert load_backend("coral").name == "coral"


def test_a_name_that_two_plug_ins_claim(installed: list[EntryPoint]) -> None:
    installed.append(entry("coral", "other:Backend"))
    for ask in (backend_names, lambda: load_backend("coral")):
        with pytest.raises(BackendError, match="registered twice") as caught:
            ask()
        assert "other:Backend" in caught.value.what
        assert "uninstall" in caught.value.hint


def test_one_plug_in_that_is_found_twice_is_one(installed: list[EntryPoint]) -> None:
    """As by an editable install beside an installed copy."""
    installed.append(entry("coral", "edgevit_coral.backend:CoralBackend"))
    assert backend_names() == ["coral"]


def test_only_required_tools_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    coral = load_backend("coral")
    tools = [Tool("a", "needed", "", "get a"), Tool("b", "nice", "", "get b", required=False), Tool("c", "", "/c", "")]
    monkeypatch.setattr(coral, "tools", lambda: tools)
    assert missing_tools(coral) == tools[:1]


def test_a_problem_reads_as_one_line() -> None:
    assert str(Problem("block.fc", "gelu", "has no operator", "choose a form")) == (
        "block.fc: gelu: has no operator (hint: choose a form)"
    )
    assert str(Problem("", "erf", "is unknown")) == "?: erf: is unknown"
