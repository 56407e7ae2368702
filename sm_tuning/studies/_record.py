"""The record ``study.json``: what a study tunes, how, and the names that follow from it. Pure."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from sm_tuning._errors import SpecError
from sm_tuning._wire import PARENT_VARIABLE, from_float32, to_tags
from sm_tuning.request import resource_config, training_request
from sm_tuning.spec import StudySettings
from sm_tuning.strategies import ParentTrials, Search, Suggestion
from sm_tuning.studies._store import Record

#: Seconds that a training job without MaxRuntimeInSeconds may take [API Reference, StoppingCondition].
_DAY = 86_400

#: The format of the records. A driver refuses records of a later format.
FORMAT = 1

#: Tags of a trial's training job.
STUDY_TAG, STORE_TAG, TRIAL_TAG = "sm-tuning:study", "sm-tuning:store", "sm-tuning:trial"
PARENT_TAG, WHY_TAG = "sm-tuning:parent", "sm-tuning:why"


@dataclass(frozen=True)
class StudyRecord:
    """A study as it was launched.

    Attributes:
        name: its name.
        uri: its folder in S3.
        request: what to tune, in the form of CreateHyperParameterTuningJob.
        settings: the block ``study:`` of the spec.
        seed: of the search.
        token: a random part of its trials' names, so that a later study of the same name has other trials.
        region: where its trials run.
        created: when the record was written, by the clock of S3.
        spec_hash: the digest of the request, by which a launch recognises its own study.
        prices: dollars an hour by instance type, with ``max_cost``.
    """

    name: str
    uri: str
    request: Mapping[str, Any] = field(hash=False)
    settings: StudySettings
    seed: int
    token: str
    region: str
    created: datetime
    spec_hash: str
    prices: Mapping[str, float] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, record: Record, uri: str) -> Self:
        """Read the record.

        Raises:
            SpecError: it was written by a later version of sm-tuning.
        """
        data = record.data
        if data.get("format") != FORMAT:
            raise SpecError(
                f"the study {uri} has records of format {data.get('format')!r}, but this version of sm-tuning reads "
                f"format {FORMAT}: update sm-tuning"
            )
        return cls(
            name=data["name"],
            uri=uri,
            request=data["request"],
            settings=StudySettings.parse(data["settings"], where=uri),
            seed=data["seed"],
            token=data["token"],
            region=data["region"],
            created=record.modified,
            spec_hash=data["spec_hash"],
            prices=data.get("prices", {}),
        )

    @property
    def arn(self) -> str:
        """An identity of the form of an ARN, with account and region; a study is no resource of AWS."""
        _, partition, _, _, account, *_ = str(self.definitions[0]["RoleArn"]).split(":")
        return f"arn:{partition}:sagemaker:{self.region}:{account}:study/{self.name}"

    @property
    def definitions(self) -> list[Mapping[str, Any]]:
        """Its training job definitions."""
        single = self.request.get("TrainingJobDefinition")
        return [single] if single else list(self.request["TrainingJobDefinitions"])

    @property
    def tags(self) -> dict[str, str]:
        """The tags that each trial gets."""
        return to_tags(self.request.get("Tags", ()))

    @property
    def parents(self) -> list[str]:
        """The tuning jobs and studies that it learns from."""
        given = (self.request.get("WarmStartConfig") or {}).get("ParentHyperParameterTuningJobs") or ()
        return [str(parent["HyperParameterTuningJobName"]) for parent in given]

    def search(self, parents: Sequence[ParentTrials] = ()) -> Search:
        """Return the search, which depends on the record and the trials of its parents alone."""
        search = Search.of(
            {**self.request, "CreationTime": self.created.timestamp()},
            seed=self.seed,
            retries=self.settings.retries,
            max_failures=self.settings.max_failures,
            parents=parents,
            conditions=self.settings.when,
            further=[direction == "Maximize" for direction in self.settings.objectives.values()],
        )
        longest = max(max_run(definition) * self.hourly(definition) / 3600 for definition in self.definitions)
        rules = replace(search.rules, max_cost=self.settings.max_cost, first_cost=longest)
        return replace(search, rules=rules)

    def hourly(self, definition: Mapping[str, Any]) -> float:
        """Return the dollars an hour of a trial's instances; 0 without ``max_cost``, which alone needs prices."""
        return math.fsum(count * self.prices.get(kind, 0.0) for kind, count in instances(definition).items())

    def definition(self, name: str | None) -> Mapping[str, Any]:
        """Return the definition of that name; the only one for None."""
        return next(entry for entry in self.definitions if name is None or entry.get("DefinitionName") == name)

    def objective(self, definition: str | None) -> Mapping[str, str]:
        """Return type and metric name of a definition's objective."""
        own = self.definition(definition).get("TuningObjective")
        config: Mapping[str, Any] = self.request["HyperParameterTuningJobConfig"]
        found: Mapping[str, str] = own or config["HyperParameterTuningJobObjective"]
        return found

    def objectives(self, definition: str | None) -> dict[str, str]:
        """Return all objectives of a definition, the first one leading: metric -> ``Maximize`` or ``Minimize``."""
        first = self.objective(definition)
        return {first["MetricName"]: first["Type"], **self.settings.objectives}

    def violations(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """Return by how much final metrics break each constraint; at most 0 for a constraint that is kept."""
        # A metric is stored as a 32-bit float: 0.3 comes back as 0.30000001, which must keep to a limit of 0.3.
        found = {name: from_float32(value) for name, value in metrics.items()}
        return tuple(bound.violation(found.get(bound.metric)) for bound in self.settings.bounds)

    def training_job_name(self, number: int) -> str:
        """Return ``<study>-<NNN>-<8 lower hex>``: a study and a number give the same name in every driver."""
        digest = hashlib.sha256(f"{self.name}/{self.token}/{self.seed}/{number}".encode()).hexdigest()
        return f"{self.name}-{number:03d}-{digest[:8]}"

    def training_request(self, suggestion: Suggestion) -> dict[str, Any]:
        """Return the parameters of CreateTrainingJob for a trial.

        Raises:
            SpecError: the request breaks a rule of the service's model.
        """
        parent = {} if suggestion.parent is None else {PARENT_TAG: str(suggestion.parent)}
        definition = self.definition(suggestion.definition)
        if suggestion.parent is not None:
            continued = {PARENT_VARIABLE: self.training_job_name(suggestion.parent)}
            definition = {**definition, "Environment": {**definition.get("Environment", {}), **continued}}
        return training_request(
            definition,
            suggestion.hyperparameters,
            name=self.training_job_name(suggestion.number),
            objective=self.objective(suggestion.definition)["MetricName"],
            tags={
                **self.tags,
                STUDY_TAG: self.name,
                STORE_TAG: self.uri,
                TRIAL_TAG: str(suggestion.number),
                WHY_TAG: suggestion.why,
                **parent,
            },
            further=_thawed(self.settings.training),
            keep_alive=self.settings.keep_alive,
        )


def instances(definition: Mapping[str, Any]) -> dict[str, int]:
    """Return how many instances of each type a trial has."""
    config = resource_config(definition)
    found: Counter[str] = Counter()
    for group in config.get("InstanceGroups") or [config]:
        found[group["InstanceType"]] += int(group.get("InstanceCount", 1))
    return dict(found)


def max_run(definition: Mapping[str, Any]) -> float:
    """Return the seconds after which the service ends a trial."""
    return float(definition["StoppingCondition"].get("MaxRuntimeInSeconds", _DAY))


def _thawed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _thawed(item) for key, item in value.items()}
    return [_thawed(item) for item in value] if isinstance(value, list | tuple) else value


def trial_key(number: int) -> str:
    """Return the key of a trial's record."""
    return f"trials/{number:04d}.json"


def trial_data(suggestion: Suggestion) -> dict[str, Any]:
    """Return the content of a trial's record."""
    mappings = {"hyperparameters": dict(suggestion.hyperparameters), "attrs": dict(suggestion.attrs)}
    return {"format": FORMAT, **vars(suggestion), **mappings}


def suggestion_of(record: Record, uri: str) -> Suggestion:
    """Read a trial's record.

    Raises:
        SpecError: it was written by a later version of sm-tuning.
    """
    data = dict(record.data)
    if data.pop("format", None) != FORMAT:
        raise SpecError(f"a trial of the study {uri} was written by another version of sm-tuning: update sm-tuning")
    return Suggestion(**data)
