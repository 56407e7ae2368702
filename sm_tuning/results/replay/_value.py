"""The outcome of a replay as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Figures:
    """What a tuning job takes and gives.

    Attributes:
        trials: number of trials.
        stopped: number of trials that were stopped before their last epoch.
        epochs: values of the objective over all trials; None if no curve could be read.
        hours: from the creation of the first trial to the end of the last.
        billable_seconds: over all trials, of one instance each.
        cost: in ``Replay.currency``, without storage, and without warm pools that were kept; None if a price is
            unknown.
        best_value: the best final objective; None without one.
    """

    trials: int
    stopped: int
    epochs: int | None
    hours: float
    billable_seconds: float
    cost: float | None
    best_value: float | None


@dataclass(frozen=True)
class Replay:
    """What a finished job would have taken with other settings, beside what it took.

    Attributes:
        job: name of the job.
        changed: the settings that were changed.
        happened: what the job took.
        replayed: what it would have taken; of several draws, their medians.
        intervals: by name of a figure, 90% bounds where a model stands for what never ran; empty where all is known.
        stopped_at: trial -> number of epochs after which it would have been stopped; empty if the replay chose other
            points than the job.
        loses_best: whether the trial that ended best would have been stopped; None if the replay chose other points.
        unknown: what the replay cannot know, a sentence each.
        currency: of the costs.
    """

    job: str
    changed: Mapping[str, Any]
    happened: Figures
    replayed: Figures
    intervals: Mapping[str, tuple[float, float]]
    stopped_at: Mapping[str, int]
    loses_best: bool | None
    unknown: tuple[str, ...]
    currency: str = "USD"

    def saving(self, figure: str = "epochs") -> float | None:
        """Return which share of a figure would have been saved, negative if it grows; None if it is not known.

        Args:
            figure: ``epochs``, ``hours``, ``billable_seconds``, ``cost`` or ``trials``.
        """
        before, after = getattr(self.happened, figure), getattr(self.replayed, figure)
        return None if not before or after is None else 1 - float(after) / float(before)

    def frame(self) -> pd.DataFrame:
        """Return a row a figure: ``Figure, Happened, Replayed, Low, High, Saving``; the bounds are those of 90%."""
        import pandas as pd  # noqa: PLC0415  (the value is cheap to import)

        names = ("trials", "stopped", "epochs", "hours", "billable_seconds", "cost", "best_value")
        none = (None, None)
        columns = {
            "Happened": [getattr(self.happened, name) for name in names],
            "Replayed": [getattr(self.replayed, name) for name in names],
            "Low": [self.intervals.get(name, none)[0] for name in names],
            "High": [self.intervals.get(name, none)[1] for name in names],
            "Saving": [None if name in ("stopped", "best_value") else self.saving(name) for name in names],
        }
        numbers = {name: pd.Series(values, dtype="float64") for name, values in columns.items()}
        return pd.DataFrame({"Figure": pd.Series(names, dtype="string"), **numbers})

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON has them, the savings among them."""
        names = ("epochs", "hours", "billable_seconds", "cost")
        return {**asdict(self), "savings": {name: self.saving(name) for name in names}}
