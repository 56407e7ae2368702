"""Hook of the site's build: the search index becomes a script, which a browser also loads from a folder.

The search plugin fetches its index in a worker, which browsers refuse for pages that are opened as files.
"""

from pathlib import Path
from typing import Any


def on_config(config: Any, **_: Any) -> Any:
    config.extra_javascript.remove("search/main.js")  # of the plugin; assets/search.js takes its place
    return config


def on_post_build(config: Any, **_: Any) -> None:
    folder = Path(config.site_dir) / "search"
    index = folder / "search_index.json"
    (folder / "search_index.js").write_text(f"window.searchIndex = {index.read_text('utf-8')};\n", encoding="utf-8")
    for unused in (index, folder / "main.js", folder / "worker.js"):
        unused.unlink()
