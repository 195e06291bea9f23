"""The skip of a test without its tool, its failure where the tool is claimed, and the golden files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tools

STAND_INS = {
    "cc": tools.Tool("cc", lambda: None, "nothing to do"),
    "lathe": tools.Tool("lathe", lambda: "no lathe on PATH", "apt-get install lathe"),
}

A_TEST_WITH_A_MISSING_TOOL = """
import pytest
from tests.tools import requires

@pytest.fixture
def costly():
    raise RuntimeError("a fixture was built for a test that cannot run")

@requires("lathe")
def test_turns(costly):
    pass
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.Pytester]:
    """A project with our pytest configuration and conftest, and a registry in which ``lathe`` is missing."""
    monkeypatch.delenv(tools.ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setattr(tools, "TOOLS", STAND_INS)
    tools.problem.cache_clear()
    pytester.makepyprojecttoml((tools.REPO / "pyproject.toml").read_text())
    pytester.makeconftest((tools.REPO / "tests" / "conftest.py").read_text())
    yield pytester
    tools.problem.cache_clear()


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-rs", ".", *arguments)


def test_a_missing_tool_skips_and_names_the_remedy(project: pytest.Pytester) -> None:
    project.makepyfile(A_TEST_WITH_A_MISSING_TOOL)
    result = run(project)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*lathe: no lathe on PATH; apt-get install lathe*"])


def test_a_claimed_tool_that_is_missing_fails(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tools.ENVIRONMENT_VARIABLE, "cc, lathe")
    project.makepyfile(A_TEST_WITH_A_MISSING_TOOL)
    result = run(project)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*EDGEVIT_REQUIRE claims lathe: no lathe on PATH*", "*hint: apt-get install lathe*"])


def test_a_claim_for_another_tool_leaves_the_skip(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tools.ENVIRONMENT_VARIABLE, "cc")
    project.makepyfile(A_TEST_WITH_A_MISSING_TOOL)
    run(project).assert_outcomes(skipped=1)


def test_a_misspelt_claim_ends_the_run(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tools.ENVIRONMENT_VARIABLE, "lahte")
    project.makepyfile("def test_runs(): pass")
    result = run(project)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*EDGEVIT_REQUIRE: unknown tool lahte*"])


def test_a_present_tool_runs_and_is_of_the_tool_tier(project: pytest.Pytester) -> None:
    project.makepyfile("""
        from tests.tools import requires

        @requires("cc")
        def test_compiles(): pass

        def test_adds(): pass
    """)
    run(project).assert_outcomes(passed=2)
    run(project, "-m", "tool").assert_outcomes(passed=1, deselected=1)
    run(project, "-m", "pure").assert_outcomes(passed=1, deselected=1)


@pytest.mark.parametrize("names", [(), ("lahte",)])
def test_requires_refuses_what_it_cannot_check(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="tool"):
        tools.requires(*names)


def test_the_probes_tell_present_from_missing(tmp_path: Path) -> None:
    assert tools.modules("json", "email")() is None
    assert tools.modules("json", "no_such_module")() == "no module no_such_module"
    assert tools.programs("no-such-program", "sh")() is None
    assert tools.programs("no-such-program")() == "no no-such-program on PATH"
    assert tools.files(tmp_path / "x")() == f"no file {tmp_path / 'x'}"


GOLDEN_TEST = 'def test_print(golden): golden("ir/relu.txt", {text!r})'


def test_a_missing_golden_file_fails_until_it_is_accepted(project: pytest.Pytester) -> None:
    project.makepyfile(GOLDEN_TEST.format(text="relu\n"))
    result = run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*golden file tests/golden/ir/relu.txt is missing*"])
    run(project, "--accept").assert_outcomes(passed=1)
    assert (project.path / "tests/golden/ir/relu.txt").read_text() == "relu\n"
    run(project).assert_outcomes(passed=1)


def test_another_text_than_the_golden_file_shows_the_difference(project: pytest.Pytester) -> None:
    path = project.path / "tests" / "golden" / "ir" / "relu.txt"
    path.parent.mkdir(parents=True)
    path.write_text("input\nrelu\n")
    project.makepyfile(GOLDEN_TEST.format(text="input\ngelu\n"))
    result = run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["--- tests/golden/ir/relu.txt", "+++ produced", "-relu", "+gelu"])
    assert path.read_text() == "input\nrelu\n"
