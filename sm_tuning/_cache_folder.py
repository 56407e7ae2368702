"""The folder of the disk cache."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

#: Environment variable with the folder; an empty value disables the cache.
CACHE_VARIABLE = "SM_TUNING_CACHE_DIR"


def cache_folder(environ: Mapping[str, str], platform: str = sys.platform) -> Path | None:
    """Return the cache folder: ``SM_TUNING_CACHE_DIR``, else in the user's cache folder; None without a cache."""
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
