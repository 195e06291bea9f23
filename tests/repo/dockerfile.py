"""A reader for the Dockerfiles of docker/: instructions with their flags and arguments.

It covers what such files hold: comments, line continuation, the shell and the JSON form, flags, and the patterns of
``.dockerignore``. Parser directives and here-documents are refused rather than misread.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

INSTRUCTIONS = re.compile(
    "ADD|ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|FROM|HEALTHCHECK|LABEL|ONBUILD|RUN|SHELL|STOPSIGNAL|USER|VOLUME|WORKDIR"
)


@dataclass(frozen=True)
class Instruction:
    """One instruction: its name in capitals, its ``--flag=value`` pairs, and the rest with continued lines joined."""

    line: int
    name: str
    flags: dict[str, str]
    text: str

    @property
    def words(self) -> list[str]:
        """The arguments: the JSON array of the exec form, otherwise the words of the shell form."""
        if self.text.startswith("["):
            return [str(word) for word in json.loads(self.text)]
        return shlex.split(self.text)

    @property
    def commands(self) -> list[list[str]]:
        """The simple commands of a RUN in shell form, or the one command of an exec form."""
        if self.text.startswith("["):
            return [self.words]
        return [shlex.split(command) for command in re.split(r"&&|\|\||;|\|", self.text)]


def parse(source: str) -> list[Instruction]:
    """The instructions of a Dockerfile; raises ``ValueError`` with the line number for anything that is not one."""
    found: list[Instruction] = []
    pending, start = "", 0
    for number, line in enumerate(source.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("#"):
            if re.fullmatch(r"#\s*(syntax|escape|check)\s*=.*", stripped):
                raise ValueError(f"line {number}: parser directives are not supported")
            continue
        if not pending:
            start = number
        if stripped.endswith("\\"):
            pending += stripped[:-1] + " "
            continue
        if pending + stripped:
            found.append(_instruction(start, pending + stripped))
        pending = ""
    if pending:
        raise ValueError(f"line {start}: the file ends within an instruction")
    if next((one.name for one in found if one.name != "ARG"), None) != "FROM":
        raise ValueError("a Dockerfile begins with FROM")
    return found


def _instruction(line: int, text: str) -> Instruction:
    name, _, rest = text.partition(" ")
    rest = rest.strip()
    if not INSTRUCTIONS.fullmatch(name):
        raise ValueError(f"line {line}: unknown instruction {name}")
    if not rest:
        raise ValueError(f"line {line}: {name} without an argument")
    if "<<" in rest:
        raise ValueError(f"line {line}: here-documents are not supported")
    flags: dict[str, str] = {}
    while match := re.match(r"--([a-z]+)=(\S+)\s+", rest):
        flags[match[1]] = match[2]
        rest = rest[match.end() :]
    return Instruction(line, name, flags, rest)


def excluded(path: str, patterns: Iterable[str]) -> bool:
    """Whether ``.dockerignore`` keeps ``path`` (relative, with slashes) out of the context.

    The last matching pattern decides. A pattern that matches a parent folder matches everything below it.
    """
    verdict = False
    parts = path.strip("/").split("/")
    candidates = ["/".join(parts[: length + 1]) for length in range(len(parts))]
    for line in patterns:
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        keep = pattern.startswith("!")
        expression = _expression(pattern.lstrip("!").strip("/"))
        if any(expression.fullmatch(candidate) for candidate in candidates):
            verdict = not keep
    return verdict


def _expression(pattern: str) -> re.Pattern[str]:
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(meaning.get(token, re.escape(token)) for token in tokens))
