"""How a tuning job's handle shows itself, each method one call into ``views``."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sm_tuning._handle import Handle

if TYPE_CHECKING:
    from sm_tuning.views import Figure


class Looks(Handle):
    """The part of ``TuningJob`` that draws."""

    _last: dict[str, Any] | None

    def plot(self, kind: str = "history", **options: Any) -> Figure:
        """Draw the job as a plotly figure; needs ``report``. ``views.save`` writes it as HTML, PNG or SVG.

        Args:
            kind: contour, correlation, cost, curves, edf, history, importance, parallel, slice, timeline,
                train_validation or utilization.
            **options: ``theme="dark"``, and those of the function of that name in ``views``, such as ``metric=`` and
                ``by="time"`` for curves.

        Raises:
            SpecError: there is no such plot, or no such option of it.
            MissingExtraError: plotly is not installed.
        """
        from sm_tuning import views  # noqa: PLC0415  (pandas loads when there is something to show)

        return views.plot(self.aws, [self.name], kind, **options)

    def report(
        self, path: str | os.PathLike[str], *, prices: Mapping[str, float] | str | os.PathLike[str] | None = None
    ) -> Path:
        """Write everything about the job to one HTML file that opens without a network; needs ``report``.

        Args:
            path: the file.
            prices: as for ``cost``.

        Raises:
            SpecError: the file cannot be written, or the prices cannot be read.
            MissingExtraError: plotly or jinja2 is not installed.
        """
        from sm_tuning import views  # noqa: PLC0415

        return views.report(self.aws, [self.name], path, prices=prices)

    def watch(
        self,
        *,
        interval: float | None = None,
        timeout: float | None = None,
        prices: Mapping[str, float] | str | os.PathLike[str] | None = None,
    ) -> dict[str, Any]:
        """Show the job until it ends, and return what ``wait`` returns.

        A terminal, and a notebook's cell, show one picture that changes in place: progress, counters, the best so far,
        the running trials with the objective's curve, time and, where prices are known, money. Elsewhere each change is
        a line. Interrupting it leaves the job running.

        Args:
            interval: seconds between two looks; when left out, few for a server on this machine, more for AWS.
            timeout: seconds after which to give up; the job goes on.
            prices: as for ``cost``.

        Raises:
            JobFailedError: the job failed.
            JobStoppedError: the job was stopped before it was done.
            WaitTimeoutError: the time is up.
        """
        from sm_tuning import views  # noqa: PLC0415

        def remember(description: Mapping[str, Any]) -> None:
            self._last = dict(description)

        try:
            return views.watch(self.aws, self.name, poll=interval, timeout=timeout, prices=prices, on_update=remember)
        except KeyboardInterrupt:
            print(f"{self.name} goes on: watch() shows it again, stop() ends it", file=sys.stderr)  # noqa: T201
            raise
