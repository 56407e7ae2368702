"""The next actions of a tuning: which trials start with which hyperparameters, which stop, and how it ends. Pure.

Everything is computed anew from the trials, so that any driver that knows the trials continues as the last one would.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self, overload

from sm_tuning._statuses import TrainingStatus, TuningStatus
from sm_tuning.spec import Conditions
from sm_tuning.strategies._decide import EarlyStops, Outcome, Rules, Tally, TrialState, criterion, decide
from sm_tuning.strategies._definitions import DefinitionRecord, DefinitionSearch, rules_of, searches_of, turn_order
from sm_tuning.strategies._strategy import NeverStops, ParentTrials, Trial

_NO_LIMIT = 10**9  # trials


@dataclass(frozen=True)
class Suggestion:
    """A trial to start.

    Attributes:
        number: 1-based counter within the tuning.
        hyperparameters: the tuned ones, as wire strings.
        definition: name of its training job definition; None in a tuning with a single one.
        parent: number of the trial whose checkpoints this trial continues.
        why: ``new``; ``continued``, ``promoted`` or ``exploited`` by the strategy; ``retried`` after a fault of the
            service.
        attrs: what the strategy must find again, as JSON.
    """

    number: int
    hyperparameters: Mapping[str, str]
    definition: str | None = None
    parent: int | None = None
    why: str = "new"
    attrs: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class PlannedTrial:
    """A trial as ``plan`` sees it.

    Attributes:
        suggestion: what was decided when it was started.
        state: its training job.
        is_started: whether its training job exists; a decision that was recorded before a driver died may lack it.
        was_fault: whether it ended by a fault of the service, after which it may be started again.
        cost: dollars so far, those of its idle instances included.
    """

    suggestion: Suggestion
    state: TrialState
    is_started: bool = True
    was_fault: bool = False
    cost: float = 0.0

    @cached_property
    def trial(self) -> Trial:
        """The trial as strategies see it."""
        state = self.state
        failed = state.ended and state.value is None
        number, tuned, attrs = self.suggestion.number, self.suggestion.hyperparameters, self.suggestion.attrs
        return Trial(
            index=number,
            hyperparameters=tuned,
            value=state.value,
            failed=failed,
            curve=state.curve,
            finished=state.ended,
            attrs=attrs,
            values=state.values,
            violations=state.violations,
        )


class Trials(Sequence[PlannedTrial]):
    """All trials of a tuning by number, with what a plan needs of them kept up to date as they are added and end.

    Attributes:
        tally: their training jobs.
    """

    def __init__(self, trials: Iterable[PlannedTrial] = ()) -> None:
        self.tally: Tally = Tally()
        self._trials: list[PlannedTrial] = []
        self._by_definition: dict[str | None, list[Trial]] = {}
        self._places: list[int] = []  # of each trial among those of its definition
        for trial in trials:
            self.add(trial)

    @overload
    def __getitem__(self, position: int) -> PlannedTrial: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[PlannedTrial]: ...
    def __getitem__(self, position: int | slice) -> PlannedTrial | Sequence[PlannedTrial]:
        """Return a trial, or several."""
        return self._trials[position]

    def __len__(self) -> int:
        return len(self._trials)

    def add(self, trial: PlannedTrial) -> None:
        """Add a trial."""
        own = self._by_definition.setdefault(trial.suggestion.definition, [])
        self._trials.append(trial)
        self._places.append(len(own))
        own.append(trial.trial)
        self.tally.add(trial.state)

    def update(self, position: int, trial: PlannedTrial) -> None:
        """Replace a running trial by what it is now.

        Raises:
            KeyError: it has ended, after which nothing of it changes.
        """
        self.tally.update(position, trial.state)
        self._trials[position] = trial
        self._by_definition[trial.suggestion.definition][self._places[position]] = trial.trial

    @property
    def unfinished(self) -> list[PlannedTrial]:
        """The trials that have not ended."""
        return [self._trials[position] for position in self.tally.running]

    def of(self, definition: str | None) -> list[Trial]:
        """Return the trials of a definition as its strategy sees them; a list of the caller's own."""
        return list(self._by_definition.get(definition, ()))


@dataclass(frozen=True)
class Search:
    """A tuning for ``plan``: its definitions with their strategies, and its rules.

    Attributes:
        rules: limits and completion criteria.
        definitions: one, or several.
        seed: of the tuning.
        learns: whether the strategy uses results.
        early: stops trials that fall behind (``TrainingJobEarlyStoppingType`` Auto); None if it is off.
        retries: how often a trial is started again after a fault of the service.
    """

    rules: Rules
    definitions: tuple[DefinitionSearch, ...]
    seed: int
    learns: bool
    early: EarlyStops | None = None
    retries: int = 0

    @classmethod
    def of(
        cls,
        tuning: Mapping[str, Any],
        *,
        seed: int,
        retries: int = 0,
        max_failures: int | None = None,
        parents: Sequence[ParentTrials] = (),
        conditions: Conditions | None = None,
        further: Sequence[bool] = (),
    ) -> Self:
        """Return the search of a CreateHyperParameterTuningJob request with its ``CreationTime`` in epoch seconds.

        Args:
            tuning: the request.
            seed: of the search.
            retries: how often a trial is started again after a fault of the service.
            max_failures: failed trials that end the tuning; None for the rule of tuning jobs.
            parents: the parents of a warm start.
            conditions: of hyperparameters, with values as a spec has them.
            further: for each objective after the first, whether a higher value is better.

        Raises:
            ValueError: the ranges or the strategy are invalid.
        """
        config = tuning["HyperParameterTuningJobConfig"]
        definitions = searches_of(tuning, seed=seed, parents=parents, conditions=conditions, further=further)
        rules = replace(rules_of(tuning, definitions), max_failures=max_failures)
        if _ends_by_itself(config, definitions):
            rules = replace(rules, max_jobs=_NO_LIMIT)
        is_early = config.get("TrainingJobEarlyStoppingType") == "Auto"
        return cls(
            rules=rules,
            definitions=tuple(definitions),
            seed=seed,
            learns=config["Strategy"] == "Bayesian",
            early=EarlyStops(maximize=rules.maximize) if is_early else None,
            retries=retries,
        )

    @property
    def needs_curves(self) -> bool:
        """Whether decisions depend on the values of running trials."""
        return self.early is not None or any(hasattr(search.strategy, "rungs") for search in self.definitions)


def _ends_by_itself(config: Mapping[str, Any], definitions: Sequence[DefinitionSearch]) -> bool:
    """Return whether the strategy alone ends a tuning without a limit; a repeated trial takes the place of none."""
    if config["ResourceLimits"].get("MaxNumberOfTrainingJobs") is not None:
        return False
    return config["Strategy"] == "Grid" or definitions[0].strategy.most_trials is not None


@dataclass(frozen=True)
class Plan:
    """The actions to take now.

    Attributes:
        start: trials to start, in this order; those that were recorded and never started come first.
        stop: names of training jobs to stop.
        outcome: how the tuning ends; only if no trial runs.
    """

    start: tuple[Suggestion, ...] = ()
    stop: tuple[str, ...] = ()
    outcome: Outcome | None = None


def plan(search: Search, trials: Sequence[PlannedTrial], now: float, *, stop_requested: bool = False) -> Plan:
    """Return the next actions.

    Args:
        search: the tuning.
        trials: all trials so far, by number.
        now: epoch seconds.
        stop_requested: whether a user has asked to stop.
    """
    rules, trials = search.rules, trials if isinstance(trials, Trials) else Trials(trials)
    counted, faults, judged = trials, list[PlannedTrial](), trials.tally
    if search.retries:  # a tuning job on this machine has 10,000 trials, and none of them is repeated
        repeated = {trial.suggestion.parent for trial in trials if trial.suggestion.why == "retried"}
        # A trial that was started again counts as one of the trials, but not as a failure or as an observation.
        counted = Trials(trial for trial in trials if trial.suggestion.number not in repeated)
        if len(trials) < rules.max_jobs:
            faults = [trial for trial in counted if trial.was_fault and _attempts(trials, trial) <= search.retries]
        judged = Tally(trial.state for trial in counted if trial not in faults)
    affordable = _affordable(rules, trials)
    decision = decide(
        rules, judged, now, stop_requested=stop_requested, exhausted=affordable < 1, trials_so_far=len(trials)
    )
    unfinished = trials.unfinished
    if decision.outcome is not None:
        # Faults that are not repeated any more are failures like others.
        last = counted.tally
        outcome = decide(rules, last, now, stop_requested=stop_requested, exhausted=True).outcome or decision.outcome
        if outcome.status is TuningStatus.COMPLETED:
            outcome = replace(outcome, reason=criterion(rules, last, now) or _over_budget(rules, trials))
        return Plan(outcome=outcome)
    stop = set(decision.stop)
    if affordable < 0:  # the limit is reached, not only the trials that fit into it are started
        stop |= {trial.state.name for trial in unfinished if trial.state.status is TrainingStatus.IN_PROGRESS}
    stop |= set(search.early.of(trials.tally.states)) if search.early is not None else set()
    stop |= set(_stopped_by_strategies(search, unfinished, counted))
    again = [trial.suggestion for trial in unfinished if not trial.is_started and trial.state.name not in stop]
    new = list(_suggestions(search, trials, counted, faults, min(decision.start, affordable)))
    if not new and not again and not unfinished and not stop:  # the spaces are used up
        return Plan(outcome=decide(rules, judged, now, exhausted=True, trials_so_far=len(trials)).outcome)
    return Plan((*again, *new), tuple(sorted(stop)))


def _affordable(rules: Rules, trials: Sequence[PlannedTrial]) -> int:
    """Return how many trials may start within ``max_cost``; -1 if it is reached already."""
    if rules.max_cost is None:
        return rules.max_jobs
    if math.fsum(trial.cost for trial in trials) >= rules.max_cost:
        return -1
    expected = _expected(rules, trials)
    ended = [trial.cost for trial in trials if trial.state.ended and trial.is_started]
    running = [max(trial.cost, expected) for trial in trials if not trial.state.ended]
    left = rules.max_cost - math.fsum([*ended, *running])
    return rules.max_jobs if expected <= 0 else max(0, math.floor(left / expected + 1e-9))


def _expected(rules: Rules, trials: Sequence[PlannedTrial]) -> float:
    """Return what a trial will cost: the mean of those that have ended; what it has cost counts if that is more."""
    ended = [trial.cost for trial in trials if trial.state.ended and trial.is_started]
    return math.fsum(ended) / len(ended) if ended else rules.first_cost


def _over_budget(rules: Rules, trials: Sequence[PlannedTrial]) -> str | None:
    """Return in words that ``max_cost`` ended a study before all its trials; None if it did not."""
    if rules.max_cost is None or len(trials) >= rules.max_jobs or _affordable(rules, trials) > 0:
        return None
    spent, expected = math.fsum(trial.cost for trial in trials), _expected(rules, trials)
    return (
        f"max_cost of ${rules.max_cost:,.2f} allows no further trial: those so far cost ${spent:,.2f}, and the next "
        f"one would cost about ${expected:,.2f}"
    )


def _attempts(trials: Sequence[PlannedTrial], trial: PlannedTrial) -> int:
    """Return the number of starts that led to a trial: 1 for a new one, 2 for one that was started again."""
    by_number = {other.suggestion.number: other for other in trials}
    count, suggestion = 1, trial.suggestion
    while suggestion.why == "retried" and suggestion.parent in by_number:
        count, suggestion = count + 1, by_number[suggestion.parent].suggestion
    return count


def _stopped_by_strategies(search: Search, unfinished: Sequence[PlannedTrial], trials: Trials) -> Iterator[str]:
    running = [trial for trial in unfinished if trial.state.status is TrainingStatus.IN_PROGRESS]
    for definition in search.definitions:
        if type(definition.strategy).should_stop is NeverStops.should_stop:
            continue  # most strategies; the list of all trials would be made in vain
        own = [trial for trial in running if trial.suggestion.definition == definition.name]
        if own:
            seen = trials.of(definition.name)
            yield from (trial.state.name for trial in own if definition.strategy.should_stop(trial.trial, seen))


def _suggestions(
    search: Search,
    trials: Trials,
    counted: Trials,
    faults: Sequence[PlannedTrial],
    count: int,
) -> Iterator[Suggestion]:
    """Yield up to ``count`` new trials: repetitions first, then suggestions of the strategies in turn."""
    if count <= 0:
        return
    number = trials[-1].suggestion.number if trials else 0
    for fault in faults[:count]:
        number, count = number + 1, count - 1
        yield replace(fault.suggestion, number=number, parent=fault.suggestion.number, why="retried")
    by_name = {definition.name or "": definition for definition in search.definitions}
    known = {name: counted.of(definition.name) for name, definition in by_name.items()}
    for fault in faults:
        # A trial that will be started again has neither failed nor ended.
        own = known[fault.suggestion.definition or ""]
        own[own.index(fault.trial)] = replace(fault.trial, value=None, failed=False, finished=False)
    for _ in range(count):
        maximize = search.rules.maximize
        order = list(known)
        if len(order) > 1:
            records = {n: DefinitionRecord.of([t.value for t in own], maximize=maximize) for n, own in known.items()}
            order = turn_order(records, seed=search.seed, maximize=maximize, learns=search.learns)
        for name in order:
            found = by_name[name].strategy.propose(known[name])
            if found is not None:
                break
        else:
            return
        number += 1
        # The next suggestion of this pass sees this one as a running trial.
        known[name].append(Trial(number, found.hyperparameters, attrs=found.attrs))
        yield Suggestion(
            number, found.hyperparameters, by_name[name].name, found.parent, why=found.why, attrs=found.attrs
        )
