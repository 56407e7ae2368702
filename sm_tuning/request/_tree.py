"""The files of a folder, in one order on every machine, with links followed safely."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from sm_tuning._errors import SpecError

#: Version control's own folder; it holds every secret that was ever committed, so it never leaves the machine.
GIT = ".git"

#: Says whether to leave out a path (relative, with slashes; and whether it is a folder).
Skip = Callable[[str, bool], bool]


def files_under(root: Path, *, skip: Skip, may_leave: bool) -> list[tuple[str, Path]]:
    """Every file below a folder as (relative path with slashes, path), sorted; links are followed.

    Args:
        root: the folder.
        skip: what to leave out; nothing below a folder that is left out is looked at.
        may_leave: whether links may point out of the folder.

    Raises:
        SpecError: for a link that is broken, goes round in a circle, leads into ``.git``, or leaves the folder when
            it may not; for what is neither file nor folder.
        OSError: when something cannot be read.
    """
    real = root.resolve(strict=True)

    def check_link(path: Path, name: str) -> None:
        try:
            target = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise SpecError(f"the link {name!r} in {str(root)!r} leads nowhere") from error
        inside = target.is_relative_to(real)
        if not inside and not may_leave:
            raise SpecError(f"the link {name!r} in {str(root)!r} leads out of it, to {str(target)!r}")
        if GIT in (target.relative_to(real) if inside else target).parts:
            raise SpecError(f"the link {name!r} in {str(root)!r} leads into {GIT}, which is never uploaded")

    def walk(folder: Path, prefix: str, above: frozenset[Path]) -> Iterator[tuple[str, Path]]:
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            name, path = f"{prefix}{entry.name}", Path(entry.path)
            if entry.name.lower() == GIT or skip(name, entry.is_dir()):
                continue
            if entry.is_symlink():
                check_link(path, name)
            if entry.is_dir():
                target = path.resolve()
                if target in above:
                    raise SpecError(f"the link {name!r} in {str(root)!r} goes round in a circle")
                yield from walk(path, f"{name}/", above | {target})
            elif entry.is_file():
                yield name, path
            else:
                raise SpecError(f"{name!r} in {str(root)!r} is neither a file nor a folder")

    return sorted(walk(root, "", frozenset({real})))
