"""No engine runs the Dockerfiles here, so what they name is checked: files, targets, extras, commands, the user."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.repo import commands
from tests.repo.dockerfile import Instruction, excluded, parse
from tests.tools import REPO

DOCKERFILES = sorted((REPO / "docker").glob("*Dockerfile*"))

pytestmark = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)


def instructions(path: Path, name: str) -> list[Instruction]:
    return [one for one in parse(path.read_text(encoding="utf-8")) if one.name == name]


def test_its_base_is_pinned_by_tag(path: Path) -> None:
    for one in instructions(path, "FROM"):
        assert re.fullmatch(r"debian:\d+\.\d+-slim", one.text), one


def test_what_it_copies_exists_in_the_context(path: Path) -> None:
    patterns = (REPO / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copies = instructions(path, "COPY") + instructions(path, "ADD")
    assert copies
    for one in copies:
        *sources, _ = one.words
        for source in sources:
            assert (REPO / source).exists(), f"line {one.line}: {source} does not exist"
            assert not excluded(source, patterns), f"line {one.line}: {source} is kept out by .dockerignore"


def test_it_copies_what_the_build_needs(path: Path) -> None:
    copied = {source for one in instructions(path, "COPY") for source in one.words[:-1]}
    assert {"pyproject.toml", "constraints.txt", "Makefile", "README.md", "LICENSE"} <= copied
    assert {source for source in commands.wheel_folders() if source.split("/")[0] not in copied} == set()


def test_its_commands_exist(path: Path) -> None:
    used = [
        words for name in ("RUN", "CMD", "ENTRYPOINT") for one in instructions(path, name) for words in one.commands
    ]
    checked = [words for words in used if words[0] in {"make", "edgevit"}]
    assert ["make", "install"] in [words[:2] for words in checked]
    for words in checked:
        commands.check(" ".join(words))


def test_the_commands_in_its_comments_exist(path: Path) -> None:
    shown = re.findall(r"^#   docker run .*?(edgevit \w.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    for command in shown:
        commands.check(re.sub(r"^edgevit\S* (?=edgevit )", "", command))
    built = re.findall(r"-f (docker/\S+)", path.read_text(encoding="utf-8"))
    assert built == [path.relative_to(REPO).as_posix()]


def test_it_ends_as_another_user_than_root(path: Path) -> None:
    users = [one.words[0] for one in instructions(path, "USER")]
    assert users
    assert users[-1] not in {"root", "0"}
    copied = [one.flags.get("chown", "root") for one in instructions(path, "COPY")]
    assert {owner.split(":")[0] for owner in copied} == {users[-1]}


def test_what_it_installs_from_debian_leaves_no_lists_behind(path: Path) -> None:
    for one in instructions(path, "RUN"):
        if any(words[:2] == ["apt-get", "install"] for words in one.commands):
            assert ["apt-get", "update"] in one.commands
            assert any(words[:2] == ["rm", "-rf"] and "apt/lists" in words[2] for words in one.commands)
