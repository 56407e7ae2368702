"""What stays out of a source archive: ``ignore_patterns`` and a ``.sagemakerignore`` file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

FILE_NAME = ".sagemakerignore"


@dataclass(frozen=True)
class Rule:
    """One line of a ``.sagemakerignore`` file.

    Attributes:
        parts: the pattern between slashes; ``**`` stands for any number of folders.
        folders_only: the line ended in a slash.
        keeps: the line began with ``!``: what it matches is kept after all.
    """

    parts: tuple[str, ...]
    folders_only: bool
    keeps: bool

    def matches(self, path: Sequence[str], is_folder: bool) -> bool:
        """Whether the rule is about this path, relative to the file's folder."""
        return (is_folder or not self.folders_only) and _match(self.parts, path)


def read_rules(folder: Path) -> tuple[Rule, ...]:
    """Read ``.sagemakerignore`` of a source folder; no rules when there is none.

    The lines mean what they mean in ``.gitignore``: ``#`` begins a comment, ``*``, ``?`` and ``[…]`` stay within a
    name, ``**`` spans folders, a slash at the start or inside ties the pattern to the folder of the file, one at the
    end matches folders only, ``!`` keeps what an earlier line left out (not below a folder that is left out). There
    are no escapes with a backslash, and files further down are not read.
    """
    path = folder / FILE_NAME
    return parse_rules(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else ()


def parse_rules(lines: Iterable[str]) -> tuple[Rule, ...]:
    """Read the lines of a ``.sagemakerignore`` file."""
    rules = []
    for line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        keeps = text.startswith("!")
        text = text.removeprefix("!")
        folders_only = text.endswith("/")
        text = text.rstrip("/")
        tied = "/" in text
        parts = tuple(part for part in text.split("/") if part)
        if parts:
            rules.append(Rule(parts if tied else ("**", *parts), folders_only, keeps))
    return tuple(rules)


def is_ignored(name: str, is_folder: bool, *, patterns: Sequence[str], rules: Sequence[Rule]) -> bool:
    """Whether a path below the source folder stays out.

    Args:
        name: relative, with slashes; the folders above it are not ignored.
        is_folder: whether it is a folder.
        patterns: shell patterns, each for one name on the way or for the whole relative path.
        rules: of ``.sagemakerignore``; the last one that matches decides.
    """
    parts = name.split("/")
    if name == FILE_NAME or any(fnmatchcase(text, pattern) for pattern in patterns for text in (*parts, name)):
        return True
    deciding = [rule for rule in rules if rule.matches(parts, is_folder)]
    return bool(deciding) and not deciding[-1].keeps


def _match(pattern: Sequence[str], path: Sequence[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        rest = pattern[1:]
        return bool(path) if not rest else any(_match(rest, path[start:]) for start in range(len(path)))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and _match(pattern[1:], path[1:])
