"""The tuning job to run next: the spec of a finished job with the advice applied, warm-started from that job."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd

from sm_tuning._errors import SpecError
from sm_tuning.results.analysis._space import index_of, key_of
from sm_tuning.spec import (
    CategoricalParameter,
    ContinuousParameter,
    IntegerParameter,
    ParameterRange,
    Tuning,
    WarmStart,
)

MAX_CHANGES = 10
"""Of static hyperparameters, compared with each parent; fixing a tuned hyperparameter counts as two."""

_KINDS = {"continuous": ContinuousParameter, "integer": IntegerParameter, "categorical": CategoricalParameter}
_PLAIN = ("max_jobs", "max_parallel_jobs", "early_stopping_type")


def next_tuning(
    tuning: Tuning,
    advice: pd.DataFrame,
    parents: Sequence[str],
    *,
    kind: Literal["IdenticalDataAndAlgorithm", "TransferLearning"] | None = None,
) -> Tuning:
    """Return the warm-start child of a tuning job with the advice applied.

    The child keeps what a warm start requires [Developer Guide, automatic-model-tuning-warm-start]: the objective, the
    set of hyperparameters (a fixed one becomes static), the type of each, at most ten changes of static
    hyperparameters. The budget is lowered if the new ranges have fewer combinations. A random seed is counted up: with
    the same seed, Random would try the same places again.

    Args:
        tuning: the finished job's spec; it is not changed.
        advice: rows of the advice frame, all or a selection; rows without a change do nothing.
        parents: names of one to five finished jobs to learn from, first the job of ``tuning``.
        kind: by default ``TransferLearning`` if the number of jobs at once changes, which the guide allows only there,
            else ``IdenticalDataAndAlgorithm``.

    Raises:
        SpecError: the tuning cannot be warm-started (several estimators, Grid, Hyperband), or the advice is about
            another job, contradicts itself, or breaks a rule of a warm start.
    """
    if tuning.estimator is None:
        raise SpecError("a warm start works with a single estimator only: apply the advice to the spec by hand")
    patch = _merged(advice)
    unknown = sorted(set(patch) - {*_PLAIN, "hyperparameter_ranges", "estimator"})
    if unknown:
        raise SpecError(f"the advice changes {', '.join(unknown)}, which a warm start cannot")
    ranges, fixed = _ranges(tuning, patch)
    if 2 * len(fixed) > MAX_CHANGES:
        raise SpecError(
            f"a warm start allows {MAX_CHANGES // 2} hyperparameters to be fixed, but the advice fixes {len(fixed)} "
            f"({', '.join(fixed)}): leave out some rows"
        )
    plain = {name: patch[name] for name in _PLAIN if name in patch}
    at_once = plain.get("max_parallel_jobs", tuning.max_parallel_jobs) != tuning.max_parallel_jobs
    chosen = kind or ("TransferLearning" if at_once else "IdenticalDataAndAlgorithm")
    hints = {name: hint for name, hint in tuning.auto_parameters.items() if name not in {*ranges, *fixed}}
    max_jobs, combinations = plain.get("max_jobs", tuning.max_jobs), _combinations(ranges)
    if max_jobs is not None and combinations is not None:
        max_jobs = min(max_jobs, combinations)
    return tuning.replace(
        **{**plain, "max_jobs": max_jobs},
        hyperparameter_ranges=ranges,
        auto_parameters=hints,
        random_seed=None if tuning.random_seed is None else tuning.random_seed + 1,
        estimator=tuning.estimator.replace(hyperparameters={**tuning.estimator.hyperparameters, **fixed}),
        warm_start=WarmStart(parents=tuple(parents), warm_start_type=chosen),
    )


def _merged(advice: pd.DataFrame) -> dict[str, Any]:
    """Return all patches as one; of two that change the same value the later counts, and a range is one value."""
    merged: dict[str, Any] = {}
    for change in map(json.loads, advice["Change"].dropna()):
        for key, value in change.items():
            if key == "estimator":
                static = merged.setdefault("estimator", {}).setdefault("hyperparameters", {})
                static |= value.get("hyperparameters", {})
            elif isinstance(value, Mapping):
                merged[key] = {**merged.get(key, {}), **value}
            else:
                merged[key] = value
    return merged


def _ranges(tuning: Tuning, patch: Mapping[str, Any]) -> tuple[dict[str, ParameterRange], dict[str, Any]]:
    """Return the new ranges, and the hyperparameters that become static, with their values."""
    ranges = dict(tuning.hyperparameter_ranges)
    static = dict(patch.get("estimator", {}).get("hyperparameters", {}))
    fixed: dict[str, Any] = {}
    for name, data in patch.get("hyperparameter_ranges", {}).items():
        old = ranges.get(name)
        if old is None and name not in tuning.auto_parameters:
            raise SpecError(f"the advice is about {name!r}, which this tuning does not tune: it tunes {sorted(ranges)}")
        if data is None:
            if name not in static:
                raise SpecError(f"the advice takes away the range of {name!r} and gives no value")
            fixed[name] = _own_value(old, static.pop(name))
            ranges.pop(name, None)
            continue
        new = _KINDS[data["type"]](**{key: value for key, value in data.items() if key != "type"})
        if old is not None and new.type != old.type:
            raise SpecError(f"a warm start keeps the type of {name!r}, which is {old.type}, but got {new.type}")
        if isinstance(old, CategoricalParameter) and isinstance(new, CategoricalParameter):
            new = CategoricalParameter([_own_value(old, value) for value in new.values])
        ranges[name] = new
    if static:
        raise SpecError(f"the advice fixes {', '.join(static)} and leaves the range")
    return ranges, fixed


def _own_value(range_: ParameterRange | None, value: Any) -> Any:
    """Return a value as the spec's own range has it: a description has the spec's number 16 as text."""
    if not isinstance(range_, CategoricalParameter):
        return value
    place = index_of(range_.values).get(key_of(value))
    return value if place is None else range_.values[place]


def _combinations(ranges: Mapping[str, ParameterRange]) -> int | None:
    """Return the number of combinations; None if there is no limit."""
    sizes = []
    for range_ in ranges.values():
        if isinstance(range_, ContinuousParameter):
            return None
        if isinstance(range_, CategoricalParameter):
            sizes.append(len(range_.values))
        else:
            sizes.append(range_.max_value - range_.min_value + 1)
    return math.prod(sizes)
