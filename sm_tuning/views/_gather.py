"""Everything that views show of tuning jobs, read once.

What AWS withholds, or what is not installed, leaves an empty frame and a note: the rest is shown all the same.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pandas as pd

from sm_tuning import jobs, results
from sm_tuning._errors import MissingExtraError, ServiceError
from sm_tuning.aws import Aws
from sm_tuning.results import analysis
from sm_tuning.views._about import About, about

#: Dollars an hour by instance type, or a YAML, JSON or CSV file of them.
Prices = Mapping[str, float] | str | os.PathLike[str]


class Gathered(NamedTuple):
    """Tuning jobs, as their views need them.

    Attributes:
        names: the jobs that were asked for.
        chain: those that were warm-started one from the other, the oldest first; empty when there are none.
        descriptions: DescribeHyperParameterTuningJob's answers by name, ancestors included.
        tags: of the jobs that were asked for, by name.
        known: what plots say and scale by.
        trials: of all jobs, ancestors included.
        curves: of the jobs that were asked for, as all that follows.
        utilization: how busy the machines were.
        cost: what the trials cost.
        errors: why trials failed.
        importance: by job.
        advice: by job.
        notes: what could not be read, and warnings.
    """

    names: tuple[str, ...]
    chain: tuple[str, ...]
    descriptions: Mapping[str, Mapping[str, Any]]
    tags: Mapping[str, Mapping[str, str]]
    known: About
    trials: pd.DataFrame
    curves: pd.DataFrame
    utilization: pd.DataFrame
    cost: pd.DataFrame
    errors: pd.DataFrame
    importance: Mapping[str, pd.DataFrame]
    advice: Mapping[str, pd.DataFrame]
    notes: tuple[str, ...]


def gather(aws: Aws, names: Sequence[str], *, prices: Prices | None = None) -> Gathered:
    """Read everything.

    Args:
        aws: the connection.
        names: the tuning jobs.
        prices: as for ``results.cost``.

    Raises:
        JobNotFoundError: there is no such tuning job.
        SpecError: some of the jobs maximize and some minimize.
    """
    names = tuple(dict.fromkeys(names))
    notes: list[str] = []
    descriptions = {name: jobs.describe(aws, name) for name in names}
    known = about(*descriptions.values())
    with _noted(notes):
        trials, curves, utilization, cost, errors = _frames(aws, names, notes, prices)
        ancestors = [job for job in dict.fromkeys(trials["TuningJobName"]) if job not in descriptions]
        for name in ancestors:
            descriptions[name] = jobs.describe(aws, name)
        of_job = {name: trials[trials["TuningJobName"] == name] for name in names}
        facts = {name: analysis.facts_of(descriptions[name]) for name in names}
        importance = {
            name: _or_empty(notes, analysis.IMPORTANCE, lambda n=name: analysis.importance(of_job[n], facts[n]))  # type: ignore[misc]
            for name in names
        }
        advice = {
            name: analysis.advice(of_job[name], curves, facts[name], importance=importance[name]) for name in names
        }
        tags = {name: _tags(aws, descriptions[name], notes) for name in names}
    return Gathered(
        names=names,
        chain=chain_of(descriptions),
        descriptions=descriptions,
        tags=tags,
        known=known,
        trials=results.shown(trials),
        curves=curves,
        utilization=utilization,
        cost=cost,
        errors=errors,
        importance=importance,
        advice=advice,
        notes=tuple(dict.fromkeys(notes)),
    )


def _frames(aws: Aws, names: Sequence[str], notes: list[str], prices: Prices | None) -> tuple[pd.DataFrame, ...]:
    """Trials, curves, utilization, cost and errors; only without trials there is nothing to show."""
    return (
        results.trials(aws, names, include_parents=True),
        _or_empty(notes, results.CURVES, lambda: results.curves(aws, names)),
        _or_empty(notes, results.UTILIZATION, lambda: results.utilization(aws, names)),
        _or_empty(notes, results.COST, lambda: results.cost(aws, names, prices=prices)),
        _or_empty(notes, results.ERRORS, lambda: results.errors(aws, names)),
    )


def _or_empty(notes: list[str], dtypes: Mapping[str, str], read: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """A frame; without rows, and with a note, when AWS refuses it or an extra is not installed."""
    try:
        return read()
    except (ServiceError, MissingExtraError) as error:
        notes.append(str(error))
        return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in dtypes.items()})


def _tags(aws: Aws, description: Mapping[str, Any], notes: list[str]) -> dict[str, str]:
    try:
        return aws.tags(description["HyperParameterTuningJobArn"])
    except ServiceError as error:
        notes.append(str(error))
        return {}


@contextmanager
def _noted(notes: list[str]) -> Iterator[None]:
    """Warnings become notes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    notes += [str(one.message) for one in caught if issubclass(one.category, UserWarning)]


def chain_of(descriptions: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """The jobs in an order in which parents come before their children; empty when none has a parent among them."""
    parents = {name: [one for one in parents_of(found) if one in descriptions] for name, found in descriptions.items()}
    if not any(parents.values()):
        return ()
    order: list[str] = []

    def visit(name: str, above: frozenset[str]) -> None:
        for parent in sorted(parents[name], key=lambda one: str(descriptions[one].get("CreationTime", ""))):
            if parent not in above:
                visit(parent, above | {name})
        if name not in order:
            order.append(name)

    for name in sorted(descriptions, key=lambda one: str(descriptions[one].get("CreationTime", ""))):
        visit(name, frozenset())
    return tuple(order)


def parents_of(description: Mapping[str, Any]) -> list[str]:
    """Names of the jobs that a job was warm-started from."""
    listed = description.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", ())
    return [str(one["HyperParameterTuningJobName"]) for one in listed]
