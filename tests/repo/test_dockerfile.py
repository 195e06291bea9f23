"""The reader that test_docker.py relies on."""

from __future__ import annotations

import pytest

from tests.repo.dockerfile import excluded, parse

SOURCE = """\
# syntax of comments
ARG TAG=12.11-slim
FROM --platform=linux/arm64 debian:12.11-slim

RUN apt-get update \\
    # a comment within
    && apt-get install -y "a b"
COPY --chown=me:me a b ./
CMD ["make", "demo"]
"""


def test_instructions_flags_and_continuations() -> None:
    arg, base, run, copy, command = parse(SOURCE)
    assert (arg.name, arg.words) == ("ARG", ["TAG=12.11-slim"])
    assert (base.line, base.flags, base.text) == (3, {"platform": "linux/arm64"}, "debian:12.11-slim")
    assert (run.line, run.commands) == (5, [["apt-get", "update"], ["apt-get", "install", "-y", "a b"]])
    assert (copy.flags, copy.words) == ({"chown": "me:me"}, ["a", "b", "./"])
    assert command.commands == [["make", "demo"]]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("RUN true", "begins with FROM"),
        ("", "begins with FROM"),
        ("FROM a\nRUNN true", "line 2: unknown instruction RUNN"),
        ("FROM a\nCOPY", "line 2: COPY without an argument"),
        ("FROM a\nRUN true \\\n", "line 2: the file ends within"),
        ("FROM a\nRUN <<EOF", "here-documents"),
        ("# escape=`\nFROM a", "parser directives"),
    ],
)
def test_what_it_cannot_read_is_refused(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(source)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("Makefile", False),
        ("tests", True),
        ("edgevit", False),
        ("edgevit/ir/graph.py", False),
        ("edgevit/__pycache__", True),
        ("edgevit/ir/__pycache__/graph.pyc", True),
        ("edgevitx", True),
    ],
)
def test_the_last_matching_ignore_pattern_decides(path: str, expected: bool) -> None:
    assert excluded(path, ["# comment", "*", "!Makefile", "!edgevit", "**/__pycache__"]) is expected
