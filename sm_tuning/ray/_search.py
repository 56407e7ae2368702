"""The strategies of sm_tuning as a searcher, a scheduler and a stopper of Ray."""

from __future__ import annotations

import pickle
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
from ray.tune import Stopper
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from sm_tuning._statuses import TrainingStatus
from sm_tuning.ray._job import INDEX, LINEAGE, RAY, RayJob
from sm_tuning.ray._training import ITERATION
from sm_tuning.strategies import (
    Decision,
    DefinitionSearch,
    EarlyStops,
    ParentTrials,
    Rules,
    Trial,
    TrialState,
    decide,
    rules_of,
    searches_of,
)

_UNLIMITED = 1 << 30


def places_of(resources: Mapping[str, float]) -> int:
    """Return how many trials with these resources the nodes of the cluster run at once."""
    wanted = {{"cpu": "CPU", "gpu": "GPU"}.get(name, name): amount for name, amount in resources.items() if amount}
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    # A tenth of a processor is there ten times, whatever is left by rounding.
    return sum(min(int(node.get(name, 0) / amount + 1e-9) for name, amount in wanted.items()) for node in alive)


def _unlimited() -> int:
    return _UNLIMITED


@dataclass
class _Entry:
    """A trial: its hyperparameters as wire strings, what its strategy noted, and what it has reported."""

    index: int
    tuned: Mapping[str, str]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    curve: list[float] = field(default_factory=list)
    status: TrainingStatus = TrainingStatus.IN_PROGRESS
    ended_at: float | None = None

    @property
    def value(self) -> float | None:
        """The final objective; a failed trial has none."""
        has_value = self.status.is_terminal and self.status is not TrainingStatus.FAILED and self.curve
        return self.curve[-1] if has_value else None


class Ledger:
    """The trials of a run, as its strategy, its early stopping and its completion criteria see them.

    Searcher, scheduler and stopper share it; Ray saves and restores it with the searcher.

    Args:
        job: the run.
        parents: trials of the parents of a warm start.
    """

    def __init__(self, job: RayJob, parents: Sequence[ParentTrials] = ()) -> None:
        self.job: RayJob = job
        self.entries: dict[str, _Entry] = {}
        self._parents = tuple(parents)
        self._search: DefinitionSearch | None = None
        self._rules: Rules | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_search": None}  # strategies have locks, and are made of the rest

    @property
    def search(self) -> DefinitionSearch:
        """The search; each node and each restored driver makes the same one."""
        if self._search is None:
            [self._search] = searches_of(self._tuning, seed=self.job.seed, parents=self._parents)
        return self._search

    @property
    def rules(self) -> Rules:
        """The limits and completion criteria; Ray limits how many trials run at once."""
        if self._rules is None:
            self._rules = replace(rules_of(self._tuning, [self.search]), max_parallel=_UNLIMITED)
        return self._rules

    @property
    def _tuning(self) -> dict[str, Any]:
        config = {"HyperParameterTuningJobConfig": self.job.config}
        return {**self.job.request, **config, "CreationTime": self.job.created}

    def add(self, trial_id: str, tuned: Mapping[str, str], lineage: Mapping[str, Any]) -> dict[str, Any]:
        """Add a trial and return its config."""
        index = len(self.entries) + 1
        self.entries[trial_id] = _Entry(index, dict(tuned), lineage.get("attrs") or {})
        return {**self.job.to_config(tuned), INDEX: index, **({LINEAGE: dict(lineage)} if lineage else {})}

    def report(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Take a value of the objective. Ray reports some twice: a value that is known already changes nothing."""
        entry, value = self.entries.get(trial_id), result.get(self.job.metric)
        if entry is None or value is None:
            return
        missing = int(result.get(ITERATION, 0)) - len(entry.curve)
        entry.curve += [float(value)] * max(0, missing)

    def end(self, trial_id: str, status: TrainingStatus) -> None:
        """Take the end of a trial; a stop that is known already stays one."""
        entry = self.entries.get(trial_id)
        if entry is not None and entry.ended_at is None:
            is_stopped = entry.status is TrainingStatus.STOPPING and status is TrainingStatus.COMPLETED
            entry.status = TrainingStatus.STOPPED if is_stopped else status
            entry.ended_at = time.time()

    def stopping(self, trial_id: str) -> None:
        """Take the decision to stop a running trial."""
        entry = self.entries.get(trial_id)
        if entry is not None and entry.ended_at is None:
            entry.status = TrainingStatus.STOPPING

    @property
    def trials(self) -> list[Trial]:
        """The trials, as strategies see them."""
        return [_trial(entry) for entry in self.entries.values()]

    @property
    def states(self) -> list[TrialState]:
        """The trials, as decisions see them."""
        return [
            TrialState(str(entry.index), entry.status, entry.value, tuple(entry.curve), entry.ended_at)
            for entry in self.entries.values()
        ]

    def decide(self) -> Decision:
        """Return what the completion criteria and limits say now."""
        return decide(self.rules, self.states, time.time())


def _trial(entry: _Entry) -> Trial:
    ended = entry.status.is_terminal
    failed = ended and entry.value is None
    return Trial(entry.index, entry.tuned, entry.value, failed, tuple(entry.curve), finished=ended, attrs=entry.attrs)


class StrategySearcher(Searcher):  # type: ignore[misc]
    """Suggests what the spec's strategy, or another searcher of Ray, suggests, and numbers the trials.

    A trial whose training job is in the storage already, since a driver was killed before its state was saved, has the
    hyperparameters that it had then.

    Args:
        ledger: of the run.
        recorded: returns the document of a training job in the storage, by its name.
        inner: another searcher, in place of the strategy.
        places: returns how many trials the cluster runs at once.
    """

    def __init__(
        self,
        ledger: Ledger,
        recorded: Callable[[str], Mapping[str, Any] | None],
        inner: Any = None,
        places: Callable[[], int] = _unlimited,
    ) -> None:
        super().__init__(metric=ledger.job.metric, mode=ledger.job.mode)
        self._ledger = ledger
        self._recorded = recorded
        self._inner = inner
        self._places = places

    def set_search_properties(self, *_: Any, **__: Any) -> bool:
        """Return True: the spec has said what is searched."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """Return the config of the next trial; None to wait, or FINISHED."""
        ledger = self._ledger
        if ledger.decide().start == 0:
            return self.FINISHED
        known = self._recorded(ledger.job.training_job_name(len(ledger.entries) + 1))
        lineage: Mapping[str, Any] = {}
        if known is not None:
            given = known["HyperParameters"]
            tuned = {name: given[name] for name in ledger.job.kinds if name in given}
            lineage = (known.get(RAY) or {}).get("lineage") or {}
        elif self._inner is not None:
            found = self._inner.suggest(trial_id)
            if found in (None, self.FINISHED):
                return found
            tuned = ledger.job.to_tuned(found)
        else:
            running = sum(entry.ended_at is None for entry in ledger.entries.values())
            # Ray keeps suggestions until there is a place. A member would be judged long before its next interval
            # begins, while the others' last values are those of earlier epochs, so that it looks better than they.
            has_all = 0 < ledger.job.population.get("size", 0) <= len(ledger.entries)
            if has_all and running and running >= self._places():
                return None
            proposal = ledger.search.strategy.propose(ledger.trials)
            if proposal is None:
                return None if running else self.FINISHED
            tuned = dict(proposal.hyperparameters)
            if ledger.job.population:
                lineage = {"parent": proposal.parent, "why": proposal.why, "attrs": dict(proposal.attrs)}
        return ledger.add(trial_id, tuned, lineage)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Take a value of the objective."""
        self._ledger.report(trial_id, result)
        if self._inner is not None:
            self._inner.on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take the end of a trial."""
        self._ledger.report(trial_id, result or {})
        status = TrainingStatus.STOPPED if result is None else TrainingStatus.COMPLETED
        self._ledger.end(trial_id, TrainingStatus.FAILED if error else status)
        if self._inner is not None:
            self._inner.on_trial_complete(trial_id, result, error)

    def save(self, checkpoint_path: str) -> None:
        """Write the trials, and the state of the other searcher."""
        state: dict[str, Any] = {"entries": self._ledger.entries, "inner": None}
        if self._inner is not None:
            with tempfile.TemporaryDirectory() as folder:
                self._inner.save(f"{folder}/state")
                state["inner"] = Path(folder, "state").read_bytes()
        Path(checkpoint_path).write_bytes(pickle.dumps(state))

    def restore(self, checkpoint_path: str) -> None:
        """Read what ``save`` has written; Ray itself unpickles the run."""
        state = pickle.loads(Path(checkpoint_path).read_bytes())  # noqa: S301
        self._ledger.entries.clear()
        self._ledger.entries.update(state["entries"])
        if self._inner is not None and state["inner"] is not None:
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "state").write_bytes(state["inner"])
                self._inner.restore(f"{folder}/state")


class StrategyScheduler(FIFOScheduler):  # type: ignore[misc]
    """Stops the trials that the strategy stops, and with early stopping Auto those behind the median.

    Args:
        ledger: of the run.
    """

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger
        self._early: EarlyStops | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_early": None}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return STOP for a trial that falls behind, or has used its resource."""
        del tune_controller
        ledger = self._ledger
        ledger.report(trial.trial_id, result)
        entry = ledger.entries.get(trial.trial_id)
        if entry is None or result.get("done"):
            return str(TrialScheduler.CONTINUE)
        behind = ledger.search.strategy.should_stop(_trial(entry), ledger.trials)
        if not behind and ledger.job.config.get("TrainingJobEarlyStoppingType") == "Auto":
            if self._early is None:
                self._early = EarlyStops(maximize=ledger.rules.maximize)
            behind = str(entry.index) in self._early.of(ledger.states)
        if behind:
            ledger.stopping(trial.trial_id)
        return str(TrialScheduler.STOP if behind else TrialScheduler.CONTINUE)


class CriteriaStopper(Stopper):  # type: ignore[misc]
    """Ends the run when a completion criterion is met, or its time is over.

    Args:
        ledger: of the run.
        other: a stopper of the user.
    """

    def __init__(self, ledger: Ledger, other: Any = None) -> None:
        self._ledger = ledger
        self._other = other

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return whether the stopper of the user ends a trial."""
        return self._other is not None and bool(self._other(trial_id, result))

    def stop_all(self) -> bool:
        """Return whether the run ends."""
        return bool(self._ledger.decide().stop) or (self._other is not None and bool(self._other.stop_all()))
