"""What a tuning job's handle can say about its results, each method one call into ``results.analysis``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sm_tuning._handle import Handle
from sm_tuning.jobs import WarmStartKind
from sm_tuning.spec import Tuning

if TYPE_CHECKING:
    import pandas as pd

    from sm_tuning.results.analysis import Facts


class Analyses(Handle):
    """The part of ``TuningJob`` that reads meaning out of its frames."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """DescribeHyperParameterTuningJob's answer."""

    @abstractmethod
    def trials(self, *, include_parents: bool = False) -> pd.DataFrame:
        """The trials frame."""

    @abstractmethod
    def curves(self) -> pd.DataFrame:
        """The curves frame."""

    @abstractmethod
    def spec(self) -> Tuning:
        """The job as a spec."""

    def _facts(self) -> Facts:
        from sm_tuning.results import analysis  # noqa: PLC0415  (pandas loads when a frame is asked for)

        return analysis.facts_of(self.describe())

    def importance(self, *, seed: int = 0, include_parents: bool = False) -> pd.DataFrame:
        """One row a hyperparameter: how much it matters, how surely, and in which direction; needs ``report``.

        Args:
            seed: of the resampling; the same seed gives the same numbers.
            include_parents: also learn from the trials of the jobs that this one was warm-started from.

        Raises:
            MissingExtraError: scikit-learn is not installed.
        """
        from sm_tuning.results import analysis  # noqa: PLC0415

        return analysis.importance(self.trials(include_parents=include_parents), self._facts(), seed=seed)

    def correlation(self, *, include_parents: bool = False) -> pd.DataFrame:
        """One row a pair of numeric hyperparameters, and each with the objective: Spearman's rank correlation."""
        from sm_tuning.results import analysis  # noqa: PLC0415

        return analysis.correlation(self.trials(include_parents=include_parents), self._facts())

    def diagnosis(self) -> pd.DataFrame:
        """One row a training job: over- or underfitting, diverged, plateaued, still improving, or fine; and why."""
        from sm_tuning.results import analysis  # noqa: PLC0415

        return analysis.diagnosis(self.trials(), self.curves(), self._facts())

    def shapes(self, *, include_parents: bool = False) -> pd.DataFrame:
        """One row a numeric hyperparameter: whether the objective is U-shaped over it or better towards a bound."""
        from sm_tuning.results import analysis  # noqa: PLC0415

        return analysis.shapes(self.trials(include_parents=include_parents), self._facts())

    def advice(self, *, seed: int = 0) -> pd.DataFrame:
        """One row a change that the next job should make, with the evidence; no rows when nothing is amiss.

        Args:
            seed: of the resampling that tells which hyperparameters do not matter.
        """
        from sm_tuning.results import analysis  # noqa: PLC0415

        return analysis.advice(self.trials(), self.curves(), self._facts(), seed=seed)

    def next_tuning(
        self,
        advice: pd.DataFrame | None = None,
        *,
        parents: Sequence[str | Analyses] = (),
        kind: WarmStartKind | None = None,
    ) -> Tuning:
        """This job's spec with the advice applied, warm-started from it; ``launch`` starts it.

        Args:
            advice: rows of ``advice()``, such as those that you agree with; all of them when left out.
            parents: up to four further finished jobs to learn from.
            kind: when left out, ``TransferLearning`` if the number of jobs at once changes, else
                ``IdenticalDataAndAlgorithm``.

        Raises:
            SpecError: the job cannot be warm-started (several estimators, Grid, Hyperband), or cannot be held as a
                spec.
        """
        from sm_tuning.results import analysis  # noqa: PLC0415

        names = [self.name, *(parent if isinstance(parent, str) else parent.name for parent in parents)]
        rows = self.advice() if advice is None else advice
        return analysis.next_tuning(self.spec(), rows, names, kind=kind)
