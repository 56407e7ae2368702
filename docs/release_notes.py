"""Print what CHANGELOG.md says about a version: ``release_notes.py [v0.2.0]``, by default the one in preparation.

A version that is given is about to be released: it must be the project's, its section must have a date that is not in
the future, and the project's URLs must be real. It needs the standard library alone.
"""

from __future__ import annotations

import re
import sys
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def notes(changelog: str, project: str, tag: str | None, today: date) -> str:
    """Return the section about a version, without its heading.

    Args:
        changelog: the text of CHANGELOG.md.
        project: the version in pyproject.toml.
        tag: the version to release, such as ``v0.2.0``; None for that in preparation.
        today: the date.

    Raises:
        ValueError: there is no such section, or the version cannot be released as it is.
    """
    version = (tag or re.sub(r"\.dev\d+$", "", project)).removeprefix("v")
    section = re.search(
        rf"^## \[{re.escape(version)}\] - (\S+)\n(.*?)(?=^## \[|\Z)", changelog, re.DOTALL | re.MULTILINE
    )
    if section is None:
        raise ValueError(f"CHANGELOG.md has no section '## [{version}] - DATE': rename its first section")
    if tag is not None:
        if project != version:
            raise ValueError(f"pyproject.toml has the version {project}, but the tag is {tag}: make them equal")
        try:
            day = date.fromisoformat(section[1])
        except ValueError:
            raise ValueError(f"version {version} has no date in CHANGELOG.md but {section[1]!r}: write one") from None
        if day > today:
            raise ValueError(f"version {version} has the date {day} in CHANGELOG.md, which is in the future")
    text = section[2].strip()
    if not text:
        raise ValueError(f"CHANGELOG.md says nothing about {version}")
    return f"{text}\n"


def main(arguments: list[str]) -> int:
    """Print the section, or what is wrong; return the exit code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    tag = arguments[0] if arguments else None
    stand_ins = [url for url in project["urls"].values() if ".example.com/" in url]
    if tag is not None and stand_ins:
        sys.stderr.write(f"pyproject.toml has stand-ins for the project's URLs ({stand_ins[0]}): write the real ones\n")
        return 1
    try:
        sys.stdout.write(notes(changelog, project["version"], tag, datetime.now(UTC).date()))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
