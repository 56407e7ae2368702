"""The block ``ray:``: where and with which resources a tuning runs on a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, model_validator

from sm_tuning._errors import Problem, SpecError
from sm_tuning._wire import HYPERBANDS
from sm_tuning.spec._base import Spec
from sm_tuning.spec._frozen import FrozenDict
from sm_tuning.spec._settings import PopulationConfig

if TYPE_CHECKING:
    from sm_tuning.spec._tuning import Tuning

#: Ray's own spellings of the resources that every node has [ray.init, resources].
_SPELLINGS = {"CPU": "cpu", "GPU": "gpu", "num_cpus": "cpu", "num_gpus": "gpu", "cpus": "cpu", "gpus": "gpu"}


class RaySettings(Spec):
    """Run the tuning on a Ray cluster; read by ``to_ray`` and ``launch --ray``, and no part of a request.

    Args:
        storage_path: ``s3://`` prefix, ``file:///`` URI or folder that gets a folder for each run. Every node must
            reach it: a folder of one machine is enough for a cluster of one node only.
        resources: what each trial reserves: ``cpu``, ``gpu`` (parts such as 0.5 are shared) and further resources that
            the cluster has by name. The estimator's instance type is not read for it.
        pbt: population based training in place of the strategy and of the number of jobs, as by the strategy Population
            of a study: ``size`` members train up to ``max_resource`` epochs, and the worst copy checkpoint and
            hyperparameters of the best.
    """

    _code: ClassVar[str] = "ray"

    storage_path: str | None = Field(default=None, min_length=1, max_length=900)
    resources: FrozenDict[
        Annotated[str, Field(min_length=1, max_length=256)], Annotated[float, Field(ge=0, le=1_000_000)]
    ] = FrozenDict({"cpu": 1.0})
    pbt: PopulationConfig | None = None

    @model_validator(mode="after")
    def _has_resources_of_ray(self) -> RaySettings:
        problems = []
        if self.storage_path is not None and not self.storage_path.removeprefix("s3:").strip("/"):
            message = f"names no place for runs, but is {self.storage_path!r}"
            problems.append(Problem("ray", "storage_path", message, "give a folder, or s3:// with a bucket"))
        for name, amount in self.resources.items():
            where = f"resources.{name}"
            if name in _SPELLINGS:
                message = f"a resource of a trial is written cpu or gpu, but got {name!r}"
                problems.append(Problem("ray", where, message, f"write {_SPELLINGS[name]}"))
            elif amount > 1 and amount != int(amount):
                # Ray divides a device, and reserves several only as a whole.
                message = f"an amount above 1 is a whole number, but got {amount:g}"
                problems.append(Problem("ray", where, message, "give a whole number, or a part below 1"))
        if not any(self.resources.values()):
            message = f"a trial needs a resource, but got {dict(self.resources)}: all trials would run at once"
            problems.append(Problem("ray", "resources", message, "give cpu: 1"))
        if problems:
            raise SpecError(problems)
        return self


def ray_problems(tuning: Tuning) -> Iterator[Problem]:
    """Yield the settings of a tuning with the block ``ray`` that cannot be honoured on Ray."""
    if tuning.ray is None:
        return
    if tuning.study is not None:
        message = "a tuning runs as a study or on Ray, but has both blocks"
        yield Problem("ray", "study", message, "leave one of the two out")
    if tuning.estimators:
        message = "a tuning on Ray has a single estimator"
        yield Problem("ray", "estimators", message, "launch one tuning for each estimator")
    if tuning.autotune:
        message = "is a feature of the service: on Ray nothing chooses the ranges"
        yield Problem("ray", "autotune", message, "give the ranges, or leave ray out")
    for name, definition in tuning.definitions:
        count = definition.estimator.instance_count
        if count > 1:
            where = f"estimators.{name}.estimator.instance_count" if name else "estimator.instance_count"
            message = f"a trial on Ray has one host, but instance_count is {count}"
            yield Problem("ray", where, message, "give instance_count 1")
    if tuning.ray.pbt is None:
        return
    if tuning.strategy in {"Grid", *HYPERBANDS} or tuning.early_stopping_type == "Auto":
        field = "early_stopping_type" if tuning.early_stopping_type == "Auto" else "strategy"
        message = f"population based training decides itself which trials go on, but {field} is "
        message += repr(getattr(tuning, field))
        yield Problem("ray", field, message, "use strategy Random, without early stopping, or leave ray.pbt out")
    if tuning.ray.pbt.resource in tuning.hyperparameter_ranges:
        resource = tuning.ray.pbt.resource
        message = f"{resource!r} says how long a member trains: it cannot be tuned"
        yield Problem("ray", f"hyperparameter_ranges.{resource}", message, "take the range out")
    yield from tuning.ray.pbt.mutation_problems(tuning.hyperparameter_ranges, "ray", "ray.pbt")
