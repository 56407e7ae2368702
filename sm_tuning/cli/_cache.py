"""``sm-tuning cache``: what is kept on disk of finished trials."""

from __future__ import annotations

import os

import click

from sm_tuning.cli._exit import say
from sm_tuning.cli._lazy import Entry, LazyGroup

ENTRIES = {
    "clear": Entry("sm_tuning.cli._cache:clear", "Remove all that is kept."),
}


@click.group(cls=LazyGroup, entries=ENTRIES)
def cache() -> None:
    """Results of finished trials, kept on disk.

    They are in the user's cache folder, or in the one that SM_TUNING_CACHE_DIR names; when that is set to nothing,
    nothing is kept.
    """


@click.command()
def clear() -> None:
    """Remove all that is kept.

    Example: sm-tuning cache clear
    """
    from sm_tuning import results  # noqa: PLC0415  (pandas loads when it is needed)

    count, size = results.clear_cache(os.environ)
    folder = results.cache_folder(os.environ)
    say(f"removed {count} files ({size / 1e6:.1f} MB) from {folder}" if folder else "there is no cache folder")
