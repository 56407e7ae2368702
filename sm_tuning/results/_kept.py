"""Frames whose rows belong to trials: what is kept on disk of finished ones, and the rest read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from sm_tuning.description import Job, Trial
from sm_tuning.results._reader import Reader
from sm_tuning.results._schema import frame, join

Read = Callable[[Reader, Sequence[Trial]], pd.DataFrame]


def by_trial_kept(
    reader: Reader,
    job: Job,
    question: tuple[str, Mapping[str, Any]],
    dtypes: Mapping[str, str],
    trials: Sequence[Trial],
    read: Read,
) -> pd.DataFrame:
    """The rows of these trials of a job.

    Args:
        reader: the connection.
        job: the tuning job.
        question: what is asked, and with which arguments; the trials are none of them.
        dtypes: columns, of which ``TrainingJobName`` is one.
        trials: those whose rows are wanted.
        read: reads the rows of some trials; what it could not get is a gap of the reader's.
    """
    kind, query = question
    names = [trial.name for trial in trials]
    entry = reader.load(job, kind, dtypes, query) if trials else None
    kept = entry.trials if entry else frozenset()
    parts = [entry.frame] if entry else []
    missing = [trial for trial in trials if trial.name not in kept]
    if missing:
        fresh = read(reader, missing)
        parts.append(fresh)
        lacking = reader.lacking()
        sure = [
            trial.name
            for trial in missing
            if trial.terminal and reader.settled(trial.ended or trial.created) and trial.name not in lacking
        ]
        if sure:
            known = [*sorted(kept), *sure]
            reader.save(job, kind, join(dtypes, parts, known), known, query)
    return join(dtypes, parts, names) if parts else frame(dtypes, {name: [] for name in dtypes})
