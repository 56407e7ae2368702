"""How a tuning job's handle goes to other tools, each method one call into ``views.exports``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from sm_tuning._handle import Handle

if TYPE_CHECKING:
    import optuna

    from sm_tuning.views.exports import Exported


class Exports(Handle):
    """The part of ``TuningJob`` that writes other tools' formats."""

    def export(self, to: str, where: str | os.PathLike[str], *, overwrite: bool = False, **options: Any) -> Exported:
        """Write the job, running or ended, for another tool; needs the extra of the tool's name.

        Secrets, by their names, are masked. The job is written wholly or not at all.

        Args:
            to: tensorboard, mlflow, wandb or optuna.
            where: a folder; for mlflow also a tracking URI or the ARN of SageMaker's MLflow, for optuna also a file or
                a storage's URL.
            overwrite: replaces what is there of this job.
            **options: for mlflow ``experiment``; for wandb ``project`` and ``entity``; for optuna ``study_name`` and
                ``metric``.

        Raises:
            SpecError: there is no such target or option, or it cannot be written there.
            MissingExtraError: the tool is not installed.
        """
        from sm_tuning.views import exports  # noqa: PLC0415  (pandas loads when there is something to export)

        (made,) = exports.export(self.aws, [self.name], to, where, overwrite=overwrite, **options)
        return made

    def to_optuna(
        self, storage: str | os.PathLike[str] | optuna.storages.BaseStorage | None = None, **options: Any
    ) -> optuna.Study:
        """Return the job as Optuna's study, with distributions and intermediate values; needs ``optuna``.

        Args:
            storage: where the study is kept: a URL, a file, a folder, or Optuna's object; in memory when left out.
            **options: ``study_name``, ``metric``, whose curve becomes the intermediate values instead of the
                objective's, and ``overwrite``.

        Raises:
            SpecError: there is a study of that name in the storage, or no such option.
            MissingExtraError: optuna is not installed.
        """
        from sm_tuning.views import exports  # noqa: PLC0415

        return exports.to_optuna(self.aws, self.name, storage, **options)
