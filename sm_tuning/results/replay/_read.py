"""A replay of a job of the service: reads what happened, and applies the changes to its settings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from sm_tuning._errors import SpecError
from sm_tuning._prices import Prices
from sm_tuning._wire import CONTINUING, HYPERBANDS
from sm_tuning.aws import STUDY_INTERVAL, Aws
from sm_tuning.description import Job, Trial, job_of
from sm_tuning.results._curves import read_curves
from sm_tuning.results._fetch import Detail, read_details, read_trials
from sm_tuning.results._reader import Reader, Reading, reading_with
from sm_tuning.results._trials import trials_frame
from sm_tuning.results.analysis._space import facts_of
from sm_tuning.results.replay._clock import search_of
from sm_tuning.results.replay._lag import lags_of
from sm_tuning.results.replay._past import Extra, Past, past_of
from sm_tuning.results.replay._replay import Change, Setting, replay_asked, replay_kept
from sm_tuning.results.replay._value import Replay
from sm_tuning.strategies import EarlyStops, HyperbandSearch, Rules, Search, Space, hyperband_config, make

#: The strategies whose points do not depend on results: those of one are as good as those of the other.
_RANDOM = ("Random", "Hyperband")
#: Seconds from a value to the stop that it causes, where the job shows none. AWS documents none for tuning jobs; the
#: metrics of training jobs reach CloudWatch once a minute [Developer Guide, monitoring-cloudwatch].
_SERVICE_LAG = 60.0
#: Containers on this machine: a line waits up to 0.2 s in their supervisor, and the stop took 0.02 s more, as measured.
_CONTAINER_LAG = 0.22


def replay(
    aws: Aws,
    description: Mapping[str, Any],
    change: Change,
    *,
    prices: Prices = None,
    seed: int = 0,
    reading: Reading | None = None,
) -> Replay:
    """Return what a finished tuning job would have taken with other settings.

    Args:
        aws: the connection.
        description: the job, as DescribeHyperParameterTuningJob has it.
        change: the settings to change.
        prices: dollars an hour by instance type, or a file of them.
        seed: of a search that chooses its points anew.
        reading: how to read.

    Raises:
        SpecError: the job runs, has no trials or no curves, or cannot have these settings.
        MissingExtraError: points that never ran need the extra ``local``.
    """
    job = job_of(description)
    strategy, is_early = _checked(job, change)
    with reading_with(aws, reading) as reader:
        trials = read_trials(reader, job)
        details, _ = read_details(reader, {job: trials})
        past, dollars = _past(reader, job, trials, details, change, prices)
    if not past.trials:
        raise SpecError(f"{job.name} has no trial that has ended: there is nothing to replay")
    if (is_early or strategy in HYPERBANDS) and not past.longest:
        raise SpecError(
            f"no value of {job.definitions[0].objective!r} could be read of {job.name}: without curves, stops cannot "
            "be replayed; change max_parallel_jobs or instance_type alone"
        )
    config = _config(job, description, change, strategy, past, is_early=is_early)
    rules = _rules(job, change, past)
    lag, notes = 0.0, list[str]()
    if is_early or strategy in HYPERBANDS:
        lag, sentence = _lag(aws, job, description, past)
        notes = [f"{sentence}; the rule is that of the SageMaker on this machine, as the service documents its in part"]
    setting = Setting(
        job=job.name,
        search=replace(search_of(rules), early=EarlyStops(maximize=past.maximize) if is_early else None),
        change=change,
        stops=_stops(config, description, past) if strategy in HYPERBANDS else None,
        dollars=dollars,
        notes=(*notes, *_notes(job, change, strategy, past, changes_stops=is_early != job.early_stopping)),
        lag=lag,
    )
    if _keeps(job, change):
        return replay_kept(past, setting)

    def searches(number: int) -> Search:
        request = {**description, "CreationTime": 0.0, "HyperParameterTuningJobConfig": config}
        try:
            made = Search.of(request, seed=seed + number)
        except ValueError as error:
            raise SpecError(f"{job.name} cannot be replayed with {strategy}: {error}") from error
        # Without a limit of trials or of time, as many trials as the job had.
        unlimited = strategy == "Grid" or rules.deadline is not None
        own = job.limits.max_jobs is None and unlimited
        return replace(made, rules=replace(rules, max_jobs=made.rules.max_jobs if own else rules.max_jobs))

    return replay_asked(past, setting, searches(0).definitions[0].space, searches)


def _keeps(job: Job, change: Change) -> bool:
    """Return whether the job's own trials are replayed, and not points that a search chooses anew."""
    same = change.strategy == job.strategy == "Grid"
    return change.strategy is None or same or (change.strategy in _RANDOM and job.strategy in _RANDOM)


def _notes(job: Job, change: Change, strategy: str, past: Past, *, changes_stops: bool) -> Iterator[str]:
    """Yield what is not known of this job, besides what no replay knows."""
    if not past.longest:
        yield "no curve could be read: epochs are not known"
    learns = strategy in ("Bayesian", "BayesianHyperband")
    if _keeps(job, change) and learns and (changes_stops or change.max_parallel_jobs is not None):
        yield (
            f"{strategy} would have chosen other points from other results: the trials are those of the job, and "
            f"strategy='{strategy}' chooses anew, with a model"
        )
    if not _keeps(job, change) and job.parents:
        yield "the jobs that this job was warm-started from are left out"


def _checked(job: Job, change: Change) -> tuple[str, bool]:
    """Return the strategy of the replay, and whether early stopping is on."""
    if not job.ended:
        raise SpecError(f"{job.name} is {job.status}: only a job that has ended can be replayed; wait for it")
    if job.is_training:
        raise SpecError(f"{job.name} is one training job: replay a tuning job or a study")
    if job.strategy in CONTINUING or job.resource:
        raise SpecError(
            f"{job.name} cannot be replayed: each trial of {job.strategy} begins at the checkpoint of another one, and "
            "with other settings it would begin at one that was never written; replay a study whose trials begin anew"
        )
    if job.further:
        raise SpecError(f"{job.name} has several objectives, of which early stopping and replays know one only")
    strategy = change.strategy or job.strategy or "Bayesian"
    is_early = change.early_stopping == "Auto" or (change.early_stopping is None and job.early_stopping)
    if strategy in HYPERBANDS:
        if change.early_stopping == "Auto":
            raise SpecError(
                f"{strategy}, the strategy of {job.name}, stops trials by itself: give strategy='Random' to replay "
                "early_stopping='Auto'"
            )
        is_early = False
    if len(job.definitions) > 1 and (is_early or change.strategy is not None):
        raise SpecError(
            f"{job.name} has {len(job.definitions)} training job definitions: early stopping and another strategy need "
            "a single one; change max_parallel_jobs or instance_type alone"
        )
    if job.is_study and not _keeps(job, change):
        raise SpecError(
            f"{job.name} is a study: its own trials can be replayed, and no other points; leave out strategy="
        )
    return strategy, is_early


def _past(
    reader: Reader,
    job: Job,
    trials: Sequence[Trial],
    details: Mapping[str, Detail],
    change: Change,
    prices: Prices,
) -> tuple[Past, dict[str, float]]:
    """Return what happened, and the dollars an hour of each trial in the replay."""
    metrics = {d: tuple(m for m in d.metrics if m.name == d.objective) for d in job.definitions}
    curves = reader.finish(read_curves(reader, {job: trials}, {job: trials}, metrics))
    listed = reader.prices(prices, [job]).by_type
    is_free = prices is None and job.is_archive  # machines of a folder are a cluster of one's own

    def hourly(name: str) -> float:
        return 0.0 if is_free else listed.get(name, math.nan)

    extras, dollars = {}, {}
    for trial in trials:
        definition = job.definition(trial)
        groups = details.get(trial.name, Detail()).machines or definition.machines
        before = math.fsum(hourly(group.type) * group.count for group in groups) if groups else math.nan
        count = sum(group.count for group in groups)
        after = before if change.instance_type is None else hourly(change.instance_type) * (count or math.nan)
        stopping = details.get(trial.name, Detail()).stopping
        extras[trial.name] = Extra(
            trial.created,
            trial.hyperparameters,
            before,
            definition.max_run,
            None if stopping is None else stopping / 1000,
        )
        dollars[trial.name] = after
    frame = trials_frame({job: trials}, details)
    return past_of(frame, curves, facts_of(job), extras), dollars


def _lag(aws: Aws, job: Job, description: Mapping[str, Any], past: Past) -> tuple[float, str]:
    """Return the seconds from a value to the stop that it causes, and a sentence about their source."""
    rule: EarlyStops | HyperbandSearch | None = EarlyStops(maximize=past.maximize) if job.early_stopping else None
    if job.strategy in HYPERBANDS:
        config = _config(job, description, Change(), job.strategy, past, is_early=False)
        rule = _stops(config, description, past)
    found = [] if rule is None else lags_of(past, rule)
    subject = "how soon the service acts on a value is"
    if found:
        return median(found), f"{subject} measured: {median(found):.3g} s, the median of {len(found)} stops"
    lag = assumed_lag(aws, job)
    return lag, f"{subject} not known, as no stop of this job shows it: {lag:g} s are assumed"


def assumed_lag(aws: Aws, job: Job) -> float:
    """Return the seconds from a value to the stop that it causes, for a job none of whose own stops are known."""
    if job.is_study:
        return aws.poll_interval if aws.is_local else STUDY_INTERVAL
    return _CONTAINER_LAG if aws.is_local or job.is_archive else _SERVICE_LAG


def _rules(job: Job, change: Change, past: Past) -> Rules:
    limits = job.limits
    return Rules(
        metric=job.definitions[0].objective,
        maximize=past.maximize,
        max_jobs=limits.max_jobs or len(past.trials),
        max_parallel=change.max_parallel_jobs or limits.max_parallel_jobs,
        dimensions=max(len(definition.ranges) for definition in job.definitions),
        deadline=limits.max_runtime,
        target=limits.target,
        max_not_improving=limits.max_not_improving,
        complete_on_convergence=limits.on_convergence,
    )


def _config(
    job: Job, description: Mapping[str, Any], change: Change, strategy: str, past: Past, *, is_early: bool
) -> dict[str, Any]:
    """Return the HyperParameterTuningJobConfig with the changes."""
    config = dict(description["HyperParameterTuningJobConfig"])
    limits = {**config["ResourceLimits"]}
    limits["MaxParallelTrainingJobs"] = change.max_parallel_jobs or limits["MaxParallelTrainingJobs"]
    config |= {"Strategy": strategy, "ResourceLimits": limits}
    config["TrainingJobEarlyStoppingType"] = "Auto" if is_early else "Off"
    if strategy != job.strategy:
        config.pop("StrategyConfig", None)
    if strategy in HYPERBANDS:
        static = (description.get("TrainingJobDefinition") or {}).get("StaticHyperParameters") or {}
        try:
            hyperband_config(config, static)
        except ValueError:  # nothing says how long a trial may train: as long as the longest did
            config["StrategyConfig"] = {"HyperbandStrategyConfig": {"MaxResource": past.longest}}
    return config


def _stops(config: Mapping[str, Any], description: Mapping[str, Any], past: Past) -> HyperbandSearch | None:
    """Return the rule of Hyperband that ends trials."""
    static = (description.get("TrainingJobDefinition") or {}).get("StaticHyperParameters") or {}
    rule = make("Hyperband", Space(()), seed=0, maximize=past.maximize, config=hyperband_config(config, static))
    return rule if isinstance(rule, HyperbandSearch) else None
