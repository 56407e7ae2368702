"""The best trial of a tuning job, and what can be made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sm_tuning._errors import SpecError
from sm_tuning._masking import masked
from sm_tuning.aws import Aws
from sm_tuning.jobs import Best

if TYPE_CHECKING:
    from sm_tuning.deploy import Endpoint, TrainingJob


@dataclass(frozen=True, repr=False)
class BestTrial(Best):
    """The best training job of a tuning job, and what can be made of it.

    It has ``training_job_name``, ``metric_name`` (the objective), ``objective_value``, ``hyperparameters`` (the tuned
    ones, typed by their ranges) and ``definition_name``.
    """

    _aws: Aws | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        shown = {**vars(self), "hyperparameters": masked(self.hyperparameters)}
        return f"BestTrial({', '.join(f'{one.name}={shown[one.name]!r}' for one in fields(Best))})"

    def _connection(self) -> Aws:
        if self._aws is None:
            raise SpecError("this BestTrial has no connection: take it from a TuningJob's best")
        return self._aws

    @cached_property
    def model_uri(self) -> str | None:
        """S3 URI of the model, asked for when it is first wanted; None when the training job saved none.

        Raises:
            ServiceError: the service refused.
        """
        answer = self._connection().call("sagemaker", "describe_training_job", TrainingJobName=self.training_job_name)
        return answer.get("ModelArtifacts", {}).get("S3ModelArtifacts") or None

    def retrain(
        self,
        inputs: Mapping[str, Any] | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        *,
        wait: bool = False,
        **options: Any,
    ) -> TrainingJob:
        """Train the same again as a plain training job, with other data, more epochs, on other machines.

        Args:
            inputs: channel -> S3 URI, local path or Input; the trial's own data when left out.
            hyperparameters: name -> value, laid over the trial's; one that is None is left out.
            wait: waits until the job ends.
            **options: those of ``deploy.Retraining``, such as ``instance_type``, ``max_run``, ``resume``, ``name`` and
                ``debug_rule_configurations``.

        Raises:
            SpecError: an option is wrong; nothing was sent.
            JobError: with ``wait``, the job ended badly.
            ServiceError: the service refused.
        """
        from sm_tuning import deploy  # noqa: PLC0415  (loads when a model is shipped)

        retraining = deploy.Retraining.of(inputs=inputs, hyperparameters=hyperparameters or {}, **options)
        job = deploy.retrain(self._connection(), self.training_job_name, retraining)
        if wait:
            job.wait()
        return job

    def deploy(self, endpoint_name: str | None = None, *, wait: bool = False, **options: Any) -> Endpoint:
        """Put the model on an endpoint; doing the same again finds what is there.

        Args:
            endpoint_name: of the endpoint; the training job's name when left out.
            wait: waits until it is in service.
            **options: those of ``deploy.Deployment``, such as ``instance_type``, ``instance_count``, ``environment``,
                ``serverless_memory_mb``, ``update``.

        Raises:
            SpecError: an option is wrong; nothing was made.
            NameTakenError: the endpoint serves something else, and ``update`` is not set.
            ServiceError: the service refused.
        """
        from sm_tuning import deploy  # noqa: PLC0415

        deployment = deploy.Deployment.of(endpoint_name=endpoint_name, **options)
        endpoint = deploy.deploy(self._connection(), self.training_job_name, deployment)
        if wait:
            endpoint.wait()
        return endpoint
