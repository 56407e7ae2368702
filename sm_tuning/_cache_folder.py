"""The one cache folder of this user on this machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

#: Names the folder; an empty value turns the cache off.
CACHE_VARIABLE = "SM_TUNING_CACHE_DIR"

#: The subfolder of script archives, which shell scripts of ``sm-tuning render --as cli`` upload.
ARCHIVES = "archives"


def cache_folder(environ: Mapping[str, str], platform: str = sys.platform) -> Path | None:
    """Return ``SM_TUNING_CACHE_DIR``, else the user's cache folder, or None if there is no cache."""
    if CACHE_VARIABLE in environ:
        named = environ[CACHE_VARIABLE]
        return Path(named).expanduser() if named else None
    home = environ.get("HOME") or environ.get("USERPROFILE")
    if environ.get("XDG_CACHE_HOME"):
        base = Path(environ["XDG_CACHE_HOME"])
    elif platform == "win32" and environ.get("LOCALAPPDATA"):
        base = Path(environ["LOCALAPPDATA"])
    elif home:
        base = Path(home, "Library", "Caches") if platform == "darwin" else Path(home, ".cache")
    else:
        return None
    return base / "sm_tuning"
