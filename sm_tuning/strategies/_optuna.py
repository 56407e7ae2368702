"""Any sampler of Optuna as a strategy: an Optuna study is rebuilt from the trials for each suggestion.

What a sampler notes about a trial or a study (generations of NSGA-II, the distribution of CMA-ES, the position in a
sequence) is recorded with the trial, so that any driver continues where the last one stopped.
"""

from __future__ import annotations

import inspect
import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sm_tuning._errors import MissingExtraError, SpecError, did_you_mean
from sm_tuning.spec import OptunaConfig, in_order
from sm_tuning.strategies._space import Categorical, Continuous, Dimension, Integer, Space
from sm_tuning.strategies._strategy import NeverStops, Proposal, Trial, entropy

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

#: Samplers that draw each hyperparameter on its own, and so may be asked for the active ones alone. The others need
#: all hyperparameters of all trials.
_ONE_BY_ONE = ("TPESampler", "RandomSampler", "BruteForceSampler")
#: The model sees inactive hyperparameters in the middle of their ranges, so that equal trials are equal points. The
#: other samplers that need all hyperparameters get back the inactive values that they have drawn.
_MODELLED = ("GPSampler",)
#: Not samplers of their own, or better served by another strategy.
_OTHERS = {
    "GridSampler": "use strategy Grid",
    "PartialFixedSampler": "make the fixed hyperparameter static",
    "BaseSampler": "give one of the others",
    "BaseGASampler": "give one of the others",
}


class OptunaSearch(NeverStops):
    """Suggestions of a sampler of Optuna.

    A failed trial is a failed trial of Optuna, which its samplers ignore. A trial that was stopped counts with its last
    value. Unlike the other strategies, a sampler may suggest a point twice.

    Args:
        space: the search space.
        settings: the sampler and its options.
        seed: of the study; equal seeds and equal trials give equal suggestions.
        maximize: for each objective, whether a higher value is better.

    Raises:
        MissingExtraError: Optuna is not installed.
        ValueError: the installed Optuna lacks the sampler, or the sampler does not take the options.
    """

    def __init__(self, space: Space, settings: OptunaConfig, *, seed: int, maximize: Sequence[bool]) -> None:
        try:
            import optuna  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise MissingExtraError("strategy Optuna", "optuna") from error
        self._optuna = optuna
        self._space = space
        self._name = settings.sampler
        self._options = dict(settings.options)
        self._seed = seed
        self._maximize = tuple(maximize)
        self._is_flat = bool(space.conditions) and self._name not in _ONE_BY_ONE
        order = in_order(space.conditions)
        by_name = {dimension.name: dimension for dimension in space.dimensions}
        self._dimensions = [by_name[name] for name in (*order, *(n for n in space.names if n not in order))]
        self._sampler(0)

    def ask(self, trials: Sequence[Trial]) -> Mapping[str, str] | None:
        """Return the hyperparameters of ``propose``."""
        return self.propose(trials).hyperparameters

    def propose(self, trials: Sequence[Trial]) -> Proposal:
        """Return the sampler's next suggestion, with what it noted.

        Raises:
            SpecError: the sampler needs a package that is not installed, or cannot search this space or these
                objectives.
        """
        study = self._replayed(trials)
        try:
            trial = study.ask()
            values: dict[str, str] = {}
            for dimension in self._dimensions:
                if self._is_flat or self._space.is_active(dimension.name, values):
                    values[dimension.name] = _suggested(trial, dimension)
        except ImportError as error:
            raise SpecError(f"{self._name} of Optuna needs {error.name}: pip install {error.name}") from error
        except (TypeError, ValueError) as error:
            raise SpecError(f"{self._name} of Optuna cannot search for this study: {error}") from error
        active = {n: values[n] for n in self._space.names if n in values and self._space.is_active(n, values)}
        inactive = {} if self._name in _MODELLED else {n: v for n, v in values.items() if n not in active}
        noted = {
            "trial": dict(study.get_trials(deepcopy=False)[-1].system_attrs),
            # Lists of a study are caches of its trials, which are computed anew.
            "study": {n: v for n, v in self._noted(study).items() if not isinstance(v, list | dict)},
            "inactive": inactive,
        }
        return Proposal(active, attrs={name: found for name, found in noted.items() if found})

    def _noted(self, study: optuna.Study) -> dict[str, Any]:
        storage = study._storage  # noqa: SLF001 - the only way to what samplers note about a study
        return storage.get_study_system_attrs(study._study_id)  # noqa: SLF001

    def _replayed(self, trials: Sequence[Trial]) -> optuna.Study:
        """Return an Optuna study with these trials."""
        kinds = self._optuna.study.StudyDirection
        directions = [kinds.MAXIMIZE if maximize else kinds.MINIMIZE for maximize in self._maximize]
        with _without_news():
            study = self._optuna.create_study(sampler=self._sampler(len(trials)), directions=directions)
        worst = [
            max((excess for excess in column if math.isfinite(excess)), default=1.0)
            for column in zip(*(trial.violations for trial in trials if trial.violations), strict=True)
        ]
        study.add_trials([self._frozen(trial, worst) for trial in trials])
        storage = study._storage  # noqa: SLF001
        for trial in trials:
            for name, value in trial.attrs.get("study", {}).items():
                storage.set_study_system_attr(study._study_id, name, value)  # noqa: SLF001
        return study

    def _frozen(self, trial: Trial, worst: Sequence[float]) -> optuna.trial.FrozenTrial:
        """Return a trial in Optuna's form.

        Args:
            trial: the trial.
            worst: the largest violation of each constraint so far, for trials that lack its metric.
        """
        states = self._optuna.trial.TrialState
        values = trial.values or (() if trial.value is None else (trial.value,))
        is_valued = bool(values) and all(map(math.isfinite, values))
        state = states.COMPLETE if is_valued else states.FAIL if trial.finished or trial.failed else states.RUNNING
        given = {**trial.attrs.get("inactive", {}), **trial.hyperparameters}
        if self._is_flat:
            given = {**dict(zip(self._space.names, self._space.middle, strict=True)), **given}
        known = [dimension for dimension in self._dimensions if dimension.name in given]
        bounded = zip(trial.violations, worst, strict=True) if is_valued else ()
        return self._optuna.trial.create_trial(
            state=state,
            values=list(values) if is_valued else None,
            params={dimension.name: _of_optuna(dimension, given[dimension.name]) for dimension in known},
            distributions={dimension.name: _distribution(dimension) for dimension in known},
            system_attrs=dict(trial.attrs.get("trial", {})),
            constraints={str(number): min(excess, most) for number, (excess, most) in enumerate(bounded)},
        )

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """Return the sampler for the suggestion after this number of trials."""
        names = [name for name in dir(self._optuna.samplers) if name.endswith("Sampler") and name not in _OTHERS]
        if self._name not in names:
            fix = _OTHERS.get(self._name) or did_you_mean(self._name, set(names), kind="samplers")
            raise ValueError(f"Optuna {self._optuna.__version__} has no sampler {self._name!r} for studies; {fix}")
        kind = getattr(self._optuna.samplers, self._name)
        taken = set(inspect.signature(kind).parameters)
        unknown = sorted(set(self._options) - taken | set(self._options) & {"seed"})
        if unknown:
            known = ", ".join(sorted(taken - {"seed"}))
            raise ValueError(f"{self._name} of Optuna takes no option {unknown[0]!r} in a study; it takes {known}")
        # A sequence goes on with the seed that it began with; other samplers draw anew each time.
        purpose = ("optuna", 0 if self._name == "QMCSampler" else number)
        own = {"seed": entropy(self._seed, purpose[1], purpose[0]) % 2**32, "warn_independent_sampling": False}
        # TPESampler warns if the latter is given at all.
        own = {n: v for n, v in own.items() if n in taken and (n == "seed" or self._name != "TPESampler")}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
                sampler: optuna.samplers.BaseSampler = kind(**self._options, **own)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self._name} of Optuna refuses the options: {error}") from error
        return sampler


@contextmanager
def _without_news() -> Iterator[None]:
    """Drop the line that Optuna logs for each study that it creates."""
    logger = logging.getLogger("optuna.storages._in_memory")

    def is_no_news(record: logging.LogRecord) -> bool:
        return record.levelno > logging.INFO

    logger.addFilter(is_no_news)
    try:
        yield
    finally:
        logger.removeFilter(is_no_news)


def _is_reversed(dimension: Dimension) -> bool:
    return isinstance(dimension, Continuous) and dimension.scaling == "ReverseLogarithmic"


def _distribution(dimension: Dimension) -> BaseDistribution:
    """Return a dimension in Optuna's form. On the reverse logarithmic scale, that of the distance from 1."""
    from optuna import distributions  # noqa: PLC0415 - an extra

    is_log = dimension.scaling == "Logarithmic" if isinstance(dimension, Continuous | Integer) else False
    if isinstance(dimension, Categorical):
        return distributions.CategoricalDistribution(dimension.values)
    if isinstance(dimension, Integer):
        return distributions.IntDistribution(dimension.low, dimension.high, log=is_log)
    if _is_reversed(dimension):
        return distributions.FloatDistribution(1 - dimension.high, 1 - dimension.low, log=True)
    return distributions.FloatDistribution(dimension.low, dimension.high, log=is_log)


def _of_optuna(dimension: Dimension, value: str) -> Any:
    """Return a wire string as Optuna has it."""
    if isinstance(dimension, Categorical):
        return value
    if isinstance(dimension, Integer):
        return int(value)
    if _is_reversed(dimension):
        return min(max(1 - float(value), 1 - dimension.high), 1 - dimension.low)
    return float(value)


def _suggested(trial: optuna.Trial, dimension: Dimension) -> str:
    """Return the sampler's value of a dimension as a wire string."""
    if isinstance(dimension, Categorical):
        return str(trial.suggest_categorical(dimension.name, dimension.values))
    if isinstance(dimension, Integer):
        is_log = dimension.scaling == "Logarithmic"
        return str(trial.suggest_int(dimension.name, dimension.low, dimension.high, log=is_log))
    if _is_reversed(dimension):
        distance = trial.suggest_float(dimension.name, 1 - dimension.high, 1 - dimension.low, log=True)
        return repr(min(max(1 - distance, dimension.low), dimension.high))
    is_log = dimension.scaling == "Logarithmic"
    return repr(trial.suggest_float(dimension.name, dimension.low, dimension.high, log=is_log))
