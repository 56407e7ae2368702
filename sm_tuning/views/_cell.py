"""Figures in a notebook's cell, with which the notebook also works as a page of HTML.

Plotly's own display depends on its version: a bundle for JupyterLab alone, which ``nbconvert`` drops, or 4.8 MB of
script with the first figure. Here each output has the data for JupyterLab, and a page that needs no network, 0.7 MB.
"""

from __future__ import annotations

import base64
import functools
import gzip
import importlib
import json
import uuid
from functools import partial
from importlib.resources import files
from typing import Any

#: What plotly chooses in a notebook, by version. Any other renderer is the user's choice.
_DEFAULTS = ("plotly_mimetype", "plotly_mimetype+notebook")

_PAGE = """<div id="{id}"></div>
<script>
(async () => {{
  window.smTuningPlotly ??= window.Plotly ? Promise.resolve() : (async () => {{
    const packed = Uint8Array.from(atob("{plotly}"), (one) => one.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    (0, eval)(await new Response(stream).text());
  }})();
  await window.smTuningPlotly;
  Plotly.newPlot("{id}", ...{figure}, {{responsive: true, displaylogo: false}});
}})();
</script>"""


def shown_in_cells(figure: Any) -> Any:
    """Return a plotly figure after changing how IPython displays it; copies are displayed as plotly does."""
    # IPython takes the method from the object, so that no class of figures of our own is needed, which pickles worse.
    vars(figure)["_ipython_display_"] = partial(_display, figure)
    return figure


def _display(figure: Any) -> None:
    io = importlib.import_module("plotly.io")
    if io.renderers.default not in _DEFAULTS:
        io.show(figure)
        return
    data = json.loads(figure.to_json())
    title = data["layout"].get("title", {}).get("text", "figure")
    bundle = {"application/vnd.plotly.v1+json": data, "text/html": page(data), "text/plain": title}
    importlib.import_module("IPython.display").display(bundle, raw=True)


def page(data: dict[str, Any]) -> str:
    """Return a figure, in the form of plotly.js, as a piece of HTML that needs no network."""
    # In a script, only a < could end the JSON.
    figure = json.dumps([data["data"], data["layout"]]).replace("<", "\\u003c")
    return _PAGE.format(id=f"figure-{uuid.uuid4().hex}", plotly=_plotly(), figure=figure)


@functools.cache
def _plotly() -> str:
    script = files("sm_tuning.views").joinpath("assets", "plotly-cartesian.min.js").read_bytes()
    return base64.b64encode(gzip.compress(script, mtime=0)).decode("ascii")
