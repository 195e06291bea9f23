"""Whether a command line that a document shows exists: its make targets and variables, its subcommand and options."""

from __future__ import annotations

import itertools
import re
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import typer

from tests.tools import REPO

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FENCE = re.compile(r"^ *```[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


@cache
def make_targets() -> frozenset[str]:
    """Every phony target of the Makefile."""
    text = (REPO / "Makefile").read_text(encoding="utf-8")
    return frozenset(name for line in re.findall(r"^\.PHONY:(.*)$", text, re.MULTILINE) for name in line.split())


@cache
def make_variables() -> frozenset[str]:
    """Every variable that the Makefile lets its caller set."""
    return frozenset(re.findall(r"^(\w+) \?=", (REPO / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@cache
def extras() -> frozenset[str]:
    """The extras of pyproject.toml."""
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return frozenset(project["optional-dependencies"])


def fenced_lines(document: Path) -> Iterator[str]:
    """The lines of the fenced blocks of a Markdown file, continued lines joined, without a leading prompt."""
    for block in FENCE.findall(document.read_text(encoding="utf-8")):
        for line in re.sub(r"\s*\\\n\s*", " ", block).splitlines():
            yield line.strip().removeprefix("$ ")


def simple_command(text: str) -> list[str]:
    """The words of the first simple command of a shell line: up to a pipe, ``&&``, ``;``, a redirection, a comment."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(itertools.takewhile(lambda word: not set(word) <= set("();<>|&"), lexer))


def check(command: str) -> None:
    """Raise ``ValueError`` when ``command``, which begins with ``make`` or ``edgevit``, names what does not exist."""
    words = list(itertools.dropwhile(lambda word: re.match(r"[A-Z_]+=", word), simple_command(command)))
    program = Path(words[0]).name
    if program == "make":
        check_make(words[1:])
    elif program == "edgevit":
        check_edgevit(words[1:])
    else:
        raise ValueError(f"{program} is neither make nor edgevit")


def check_make(words: list[str]) -> None:
    """Raise ``ValueError`` for an unknown target, an unknown variable or an unknown extra in ``EXTRAS=``."""
    for word in words:
        name, equals, value = word.partition("=")
        if not equals and name not in make_targets():
            raise ValueError(f"make has no target {name}")
        if equals and name not in make_variables():
            raise ValueError(f"make has no variable {name}")
        if name == "EXTRAS" and (unknown := set(value.split(",")) - extras()):
            raise ValueError(f"pyproject.toml has no extra {', '.join(sorted(unknown))}")


def check_edgevit(words: list[str]) -> None:
    """Raise ``ValueError`` for an unknown subcommand or option, or for more arguments than the command takes."""
    from edgevit.cli import app

    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    # An option such as --help belongs to the group; what follows a subcommand is parsed by that, without running it.
    name, command = "edgevit", typer.main.get_command(app)
    if words and not words[0].startswith("-"):
        if words[0] not in group.commands:
            raise ValueError(f"edgevit has no command {words[0]}")
        name, command, words = f"edgevit {words[0]}", group.commands[words[0]], words[1:]
    try:
        _, left, _ = command.make_parser(command.context_class(command)).parse_args(list(words))
    except Exception as error:
        raise ValueError(f"{name}: {error}") from error
    if left:
        raise ValueError(f"{name} takes no argument {left[0]}")


def wheel_folders() -> list[str]:
    """The package folders that the wheel is made from."""
    tool = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    return [str(folder) for folder in tool["hatch"]["build"]["targets"]["wheel"]["only-include"]]
