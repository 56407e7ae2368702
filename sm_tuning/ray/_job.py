"""A run as its nodes see it: ``job.json``, names, hyperparameters, and the documents of its training jobs. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from sm_tuning._errors import SpecError
from sm_tuning._statuses import SecondaryStatus, TrainingStatus, TuningStatus
from sm_tuning._wire import (
    OBJECTIVE_KEY,
    PARENT_VARIABLE,
    PROGRAM_KEY,
    RANGE_KINDS,
    STUDY_RULES,
    STUDY_STRATEGY_CONFIG,
    STUDY_TRIAL,
    archive_arn,
)
from sm_tuning.ray._storage import NODE_FILES
from sm_tuning.request import resource_config
from sm_tuning.spec import Tuning, decode_scalar, encode_json, encode_plain, to_data
from sm_tuning.strategies import MEMBER

#: Keys of a trial's config in Ray beside its hyperparameters: the number of the ask, from 1, and in a population which
#: trial it continues, as ``parent``, ``why`` and ``attrs`` of a ``Proposal``. No hyperparameter has such a name.
INDEX, LINEAGE = "sm:index", "sm:lineage"
#: The member of ``job.json`` and of ``training-job.json`` that only the nodes read.
RAY = "Ray"
_FORMAT = 1
_COPIED = ("RoleArn", "StoppingCondition", "RetryStrategy", "Environment")


@dataclass(frozen=True)
class RayJob:
    """A run.

    Attributes:
        request: in the form of CreateHyperParameterTuningJob; local files have URIs below ``NODE_FILES``.
        seed: of the search.
        region: AWS region that scripts see.
        created: epoch seconds.
        settings: keyword arguments of ``to_ray`` that the nodes need.
    """

    request: Mapping[str, Any] = field(hash=False)
    seed: int
    region: str
    created: float
    settings: Mapping[str, Any] = field(hash=False)

    @classmethod
    def of(cls, content: bytes | None, uri: str) -> Self:
        """Read ``job.json``.

        Raises:
            SpecError: the folder is not that of a run on Ray, or another version of sm-tuning wrote it.
        """
        if content is None:
            raise SpecError(f"{uri} has no sm/job.json: it is not the folder of a run; name <storage_path>/<name>")
        data = dict(json.loads(content).get(RAY) or {})
        if data.pop("format", None) != _FORMAT:
            raise SpecError(f"{uri}/sm/job.json is not of a run on Ray that this version of sm-tuning can continue")
        return cls(**data)

    def document(self, tuning: Tuning) -> dict[str, Any]:
        """Return ``job.json``: the description of a tuning job that has just begun."""
        own = {"request": self.request, "seed": self.seed, "region": self.region, "created": self.created}
        return {
            **self.readable(self.request),
            "HyperParameterTuningJobConfig": self.config,
            "HyperParameterTuningJobStatus": str(TuningStatus.IN_PROGRESS),
            "CreationTime": self.created,
            "LastModifiedTime": self.created,
            "Spec": to_data(tuning),
            **({STUDY_RULES: {}} if self.population else {}),
            RAY: {"format": _FORMAT, **own, "settings": self.settings},
        }

    @staticmethod
    def readable(document: Mapping[str, Any]) -> dict[str, Any]:
        """Return a document with ``file:///`` for files that the nodes see."""
        found: dict[str, Any] = json.loads(json.dumps(document).replace(f"{NODE_FILES}/", "file:///"))
        return found

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.request["HyperParameterTuningJobName"])

    @property
    def config(self) -> Mapping[str, Any]:
        """Its HyperParameterTuningJobConfig, which has the strategy Population as in a study."""
        found: Mapping[str, Any] = self.request["HyperParameterTuningJobConfig"]
        if not self.population:
            return found
        return {**found, "Strategy": "Population", "StrategyConfig": {STUDY_STRATEGY_CONFIG: self.population}}

    @property
    def population(self) -> Mapping[str, Any]:
        """The settings of population based training; empty without it."""
        return self.settings.get("pbt") or {}

    @property
    def definition(self) -> Mapping[str, Any]:
        """Its training job definition."""
        found: Mapping[str, Any] = self.request["TrainingJobDefinition"]
        return found

    @property
    def checkpoint_period(self) -> float:
        """Seconds between two copies of a trial's checkpoints and of its log."""
        return float(self.settings["checkpoint_period"])

    @property
    def metric(self) -> str:
        """The name of the objective."""
        return str(self.config["HyperParameterTuningJobObjective"]["MetricName"])

    @property
    def mode(self) -> str:
        """The direction of the objective in Ray's words."""
        return "max" if self.config["HyperParameterTuningJobObjective"]["Type"] == "Maximize" else "min"

    @property
    def kinds(self) -> Mapping[str, str]:
        """What a trial's config has beside its number: the kind of each range, and of the epochs of a population."""
        ranges = self.config.get("ParameterRanges") or {}
        tuned = {entry["Name"]: kind for name, kind in RANGE_KINDS.items() for entry in ranges.get(name) or ()}
        return {**tuned, **({self.population["resource"]: "Integer"} if self.population else {})}

    def training_job_name(self, index: int) -> str:
        """Return the name of a trial's training job: an index gives the same name on each node."""
        key = f"{self.name}/{self.created}/{self.seed}/{index}"
        return f"{self.name}-{index:03d}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"

    def to_config(self, tuned: Mapping[str, str]) -> dict[str, Any]:
        """Return hyperparameters with the types of their ranges."""
        kinds = self.kinds
        readers: dict[str, Callable[[str], Any]] = {"Integer": int, "Continuous": float, "Categorical": self._category}
        return {name: readers[kinds[name]](text) for name, text in tuned.items()}

    def to_tuned(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Return the hyperparameters of a trial's config as wire strings."""
        encode = encode_json if self._is_script else encode_plain
        kinds = self.kinds

        def text(name: str, value: Any) -> str:
            plain = value.item() if hasattr(value, "item") else value  # numbers of NumPy, as some searchers give them
            if kinds[name] == "Integer":
                return str(int(plain))
            return repr(float(plain)) if kinds[name] == "Continuous" else encode(plain)

        return {name: text(name, config[name]) for name in kinds if name in config}

    def parent_of(self, config: Mapping[str, Any]) -> str | None:
        """Return the training job whose checkpoints a trial continues; None if it begins anew."""
        parent = (config.get(LINEAGE) or {}).get("parent")
        return None if parent is None else self.training_job_name(parent)

    def training_job(self, config: Mapping[str, Any], now: float) -> dict[str, Any]:
        """Return the document of a trial's training job before it starts, as DescribeTrainingJob shows it.

        Args:
            config: of the trial in Ray.
            now: epoch seconds.
        """
        definition = self.definition
        name = self.training_job_name(config[INDEX])
        static = definition.get("StaticHyperParameters") or {}
        document = {
            "TrainingJobName": name,
            "TrainingJobArn": archive_arn("training-job", name),
            "TuningJobArn": archive_arn("hyper-parameter-tuning-job", self.name),
            "TrainingJobStatus": str(TrainingStatus.IN_PROGRESS),
            "SecondaryStatus": str(SecondaryStatus.STARTING),
            "SecondaryStatusTransitions": [],
            "HyperParameters": {**static, **self.to_tuned(config), OBJECTIVE_KEY: self.metric},
            "AlgorithmSpecification": definition["AlgorithmSpecification"],
            "InputDataConfig": list(definition.get("InputDataConfig") or ()),
            "OutputDataConfig": definition["OutputDataConfig"],
            "ResourceConfig": resource_config(definition),
            "CheckpointConfig": definition.get("CheckpointConfig"),
            "EnableNetworkIsolation": bool(definition.get("EnableNetworkIsolation")),
            "CreationTime": now,
            "LastModifiedTime": now,
            **{member: definition.get(member) for member in _COPIED},
        }
        parent, lineage = self.parent_of(config), config.get(LINEAGE)
        if lineage:
            document[STUDY_TRIAL] = {"Parent": parent, "Why": lineage["why"], "Member": lineage["attrs"].get(MEMBER)}
        if parent is not None:
            document["Environment"] = {**(document["Environment"] or {}), PARENT_VARIABLE: parent}
        return {member: value for member, value in document.items() if value is not None}

    @property
    def _is_script(self) -> bool:
        return PROGRAM_KEY in (self.definition.get("StaticHyperParameters") or {})

    def _category(self, text: str) -> Any:
        return decode_scalar(text, as_json=self._is_script)
