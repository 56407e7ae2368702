"""How a tuning job's best model is shipped, each method one call into ``deploy``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sm_tuning._handle import Handle

if TYPE_CHECKING:
    from sm_tuning.deploy import Endpoint, ModelPackage


class Ships(Handle):
    """The part of ``TuningJob`` that brings its best model to where it is used."""

    def register(self, group: str, approval: str = "PendingManualApproval", **options: Any) -> ModelPackage:
        """Register the best model in the Model Registry, with its lineage; once, however often it is called.

        Args:
            group: the model package group; made when it is not there.
            approval: ``PendingManualApproval``, ``Approved`` or ``Rejected``.
            **options: those of ``deploy.Registration``, such as ``metrics="metrics.json"``,
                ``require=["validation:rmse<=70"]``, ``inference_instances=["ml.m5.large"]``, ``metadata={...}``.

        Raises:
            SpecError: the job has not ended, or an option is wrong.
            JobError: the job failed or has no model, or a requirement does not hold.
            ServiceError: the service refused.
        """
        from sm_tuning import deploy  # noqa: PLC0415  (loads when a model is shipped)

        return deploy.register(self.aws, self.name, group, deploy.Registration.of(approval=approval, **options))

    def deploy(self, endpoint_name: str | None = None, *, wait: bool = False, **options: Any) -> Endpoint:
        """Put the best model of the finished job on an endpoint; doing the same again finds what is there.

        Args:
            endpoint_name: of the endpoint; the best training job's name when left out.
            wait: waits until it is in service.
            **options: those of ``deploy.Deployment``, such as ``instance_type`` and ``update``.

        Raises:
            SpecError: the job has not ended, or an option is wrong; nothing was made.
            JobError: the job failed or has no model.
            NameTakenError: the endpoint serves something else, and ``update`` is not set.
            ServiceError: the service refused.
        """
        from sm_tuning import deploy  # noqa: PLC0415

        model = deploy.best_model(self.aws, self.name)
        deployment = deploy.Deployment.of(endpoint_name=endpoint_name, **options)
        endpoint = deploy.deploy(self.aws, model.best.training_job_name, deployment)
        if wait:
            endpoint.wait()
        return endpoint
