"""Every command that a document shows in a fenced block exists as shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.repo import commands
from tests.tools import REPO

DOCUMENTS = [
    path for path in (REPO / "README.md", REPO / "CONTRIBUTING.md", REPO / "ARCHITECTURE.md") if path.is_file()
]
CASES = [
    (document.name, line)
    for document in DOCUMENTS
    for line in commands.fenced_lines(document)
    if re.match(r"([A-Z_]+=\S+ )*(\S*/)?(make|edgevit) ", line)
]


@pytest.mark.parametrize(("document", "line"), CASES)
def test_a_shown_command_exists(document: str, line: str) -> None:
    commands.check(line)


def test_the_readme_shows_the_main_job() -> None:
    shown = [line for document, line in CASES if document == "README.md"]
    assert any(line.startswith("make demo") for line in shown)
    assert any(line.startswith("edgevit export") for line in shown)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("make dmeo", "no target dmeo"),
        ("make test PYTEST_ARG=-x", "no variable PYTEST_ARG"),
        ("OMP_NUM_THREADS=1 make dmeo | tee log", "no target dmeo"),
        ("make install EXTRAS=coral,fpgaa", "no extra fpgaa"),
        ("edgevit exprot", "no command exprot"),
        ("edgevit export --no-such-option", "no-such-option"),
        ("edgevit targets one two three four", "takes no argument"),
        ("pip install edgevit", "neither make nor edgevit"),
    ],
)
def test_a_command_that_does_not_exist_is_refused(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        commands.check(line)


def test_what_follows_the_command_is_left_to_the_shell() -> None:
    commands.check(
        "EDGEVIT_REQUIRE=cc .venv/bin/edgevit export --target coral -o 'a b' > log && tail log  # the result"
    )
    commands.check("make test PYTEST_ARGS='-k golden -x' JOBS=1 | less")


def test_fenced_lines_are_joined_and_lose_their_prompt(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text("make no\n\n```sh\n$ edgevit export \\\n    -o out\nmake demo\n```\nmake neither\n")
    assert list(commands.fenced_lines(document)) == ["edgevit export -o out", "make demo"]
