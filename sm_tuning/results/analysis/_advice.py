"""What a tuning job's results advise for the next one."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from sm_tuning._errors import MissingExtraError
from sm_tuning.results._schema import ADVICE, table
from sm_tuning.results.analysis._budget import budget_notes
from sm_tuning.results.analysis._diagnosis import diagnosis
from sm_tuning.results.analysis._facts import Facts
from sm_tuning.results.analysis._health import health_notes
from sm_tuning.results.analysis._importance import shares_of, too_few
from sm_tuning.results.analysis._notes import Note
from sm_tuning.results.analysis._ranges import Importance, range_notes
from sm_tuning.results.analysis._sample import Sample, sample_of

_RESAMPLES = 20


def advice(
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    facts: Facts,
    *,
    seed: int = 0,
    importance: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """What to change in the next tuning job, with the evidence in this one; no rows when nothing is amiss.

    The thresholds are ours unless a source is named. *Places* are on the scale of a range, 0 … 1.

    - ``widen``: the best trial, and more of the best tenth (5 at least) than chance puts there with 1 %, lie within a
      tenth of the range from a bound, and trials there beat others. Bounds that are natural ones are left alone:
      0, a 1 above fractions, a 1 below whole numbers. From 12 trials on.
    - ``narrow``: the best fifth (5 at least) lie closer together than chance has it with 1 %, within half of the
      range including a margin of 10 % on both sides, and trials there beat others. From 20 trials on.
    - ``fix``: a hyperparameter by itself explains less than 5 % of the objective's variance, and together with others
      less than 8 % (``Importance`` and ``ForestImportance``), with 95 % certainty; no line or parabola through the
      objective's ranks (``shapes``) says otherwise by 2.5 standard errors; and another one explains 20 % or more. At
      most five, which is what a warm start allows. From 20 trials on.
    - ``drop_value``: a categorical value was tried eight times or more and always ended in the worse half.
    - ``log_scale``: a positive range over a factor of 100 or more is searched linearly, and the best do not all lie
      in its top decade.
    - ``parallelism``: a Bayesian search in fewer than five rounds (jobs over jobs at once).
    - ``early_stopping``: the median rule, replayed on this job's curves, saves 20 % of the epochs or more and keeps the
      best trial.
    - ``fewer_jobs``: in the second half the best improved by less than 1 % of its distance to the median, though five
      trials or more came within 5 % of it. ``more_jobs``: the last quarter improved it twice or more, by 10 % of that
      distance. From 20 trials on.
    - ``failures``: 20 % of the trials failed, two at least; with the part of a range that all of them lie in, if there
      is one. ``no_metric``: 20 % of the completed trials have no objective.
    - ``train_longer``: half of the best third still improved at their end (see ``diagnosis``); ``overfitting``,
      ``underfitting``, ``diverged``: half of all trials.

    Args:
        trials: the trials frame.
        curves: the curves frame; with no rows, what needs curves is not judged.
        facts: what was asked for, see ``facts_of``.
        seed: of the resampling behind ``fix``.
        importance: the frame of that name, for who has it already: most of the time of this goes into it.

    Returns:
        One row a piece of advice, warnings (they cost results or money) before hints. ``Change`` is the change of the
        spec as a JSON merge patch (RFC 7396), such as ``{"hyperparameter_ranges": {"eta": {…}}}``, missing where
        there is nothing to apply; ``next_tuning`` applies them. Without scikit-learn, ``fix`` is not judged, of which
        a warning tells.
    """
    notes = [
        *health_notes(trials, diagnosis(trials, curves, facts), facts),
        *_range_notes(trials, facts, seed, importance),
        *budget_notes(trials, curves, facts),
    ]
    settled = _one_range_each(notes)
    return table(ADVICE, [note.row() for note in sorted(settled, key=lambda note: note.severity != "warning")])


def _range_notes(trials: pd.DataFrame, facts: Facts, seed: int, known: pd.DataFrame | None) -> Iterator[Note]:
    if facts.strategy == "Grid":
        return  # every combination was run: there is no search to direct
    for algorithm in facts.algorithms:
        sample = sample_of(trials, facts, algorithm)
        yield from range_notes(sample, _importance(sample, seed) if known is None else _known(sample, known))


def _importance(sample: Sample, seed: int) -> dict[str, Importance]:
    """How much each hyperparameter matters at most; nothing when that cannot be told."""
    if too_few(sample) is not None:
        return {}
    try:
        names, anova, impurity = shares_of(sample, seed, _RESAMPLES)
    except MissingExtraError as error:
        warnings.warn(f"which hyperparameters could be fixed is not judged: {error}", stacklevel=4)
        return {}
    return _told(zip(names, anova.mean, anova.low, anova.high, impurity.high, strict=True))


def _known(sample: Sample, frame: pd.DataFrame) -> dict[str, Importance]:
    """The same from the frame of ``importance``."""
    mine = frame[frame["TrainingJobDefinitionName"].fillna("") == (sample.algorithm.name or "")]
    columns = ["Hyperparameter", "Importance", "ImportanceLow", "ImportanceHigh", "ForestImportanceHigh"]
    return _told(mine[columns].itertuples(index=False))


def _told(found: Iterable[tuple[Any, ...]]) -> dict[str, Importance]:
    return {name: Importance(*map(float, shares)) for name, *shares in found if np.isfinite(shares).all()}


def _one_range_each(notes: list[Note]) -> list[Note]:
    """No two changes of one range that contradict: where all trials fail comes before where the good ones lie."""
    failing = {(note.definition, note.hyperparameter) for note in notes if note.code == "failures"}
    moves = ("widen", "narrow", "fix", "drop_value", "log_scale")
    return [note for note in notes if note.code not in moves or (note.definition, note.hyperparameter) not in failing]
