"""A finished tuning job of any size, as SageMaker, CloudWatch Logs and CloudWatch would return it."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

REGION, ACCOUNT = "us-east-1", "123456789012"
METRICS = ("train:loss", "train:accuracy", "validation:loss", "validation:accuracy")
INSTANCE = "ml.m5.xlarge"
PARALLEL = 10
NAME = "bench"
ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:hyper-parameter-tuning-job/{NAME}"
GROUP = "/aws/sagemaker/TrainingJobs"


@dataclass(frozen=True)
class World:
    """A job with the given numbers of trials (ten at a time), and of minutes, epochs and log lines for each trial.

    Log lines include the epochs' lines.
    """

    trials: int
    lines: int = 20
    epochs: int = 20
    minutes: int = 20

    @cached_property
    def begin(self) -> int:
        """Epoch seconds of the first trial's start; the last trial ended two days ago."""
        waves = -(-self.trials // PARALLEL)
        return int(time.time()) // 60 * 60 - 2 * 86400 - waves * self.minutes * 60

    def start(self, trial: int) -> int:
        """Return the epoch seconds at which a trial started."""
        return self.begin + trial // PARALLEL * self.minutes * 60

    @cached_property
    def names(self) -> list[str]:
        """The trials' names."""
        return [f"{NAME}-{n + 1:03d}-{n * 2654435761 % 2**32:08x}" for n in range(self.trials)]

    @cached_property
    def places(self) -> dict[str, int]:
        """Each trial by its name."""
        return {name: n for n, name in enumerate(self.names)}

    def value(self, trial: int, metric: int, epoch: int) -> float:
        """Return the values that a trial emitted."""
        return (trial % 97 + 1) / (metric + 2) / (epoch + 1)

    @cached_property
    def tuning_job(self) -> dict[str, Any]:
        """Return the response of DescribeHyperParameterTuningJob."""
        ranges = [{"Name": "lr", "MinValue": "0.001", "MaxValue": "1", "ScalingType": "Logarithmic"}]
        return {
            "HyperParameterTuningJobName": NAME,
            "HyperParameterTuningJobArn": ARN,
            "HyperParameterTuningJobStatus": "Completed",
            "CreationTime": float(self.begin - 60),
            "TrainingJobStatusCounters": {"Completed": self.trials},
            "ObjectiveStatusCounters": {"Succeeded": self.trials},
            "HyperParameterTuningJobConfig": {
                "Strategy": "Random",
                "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": METRICS[2]},
                "ResourceLimits": {"MaxParallelTrainingJobs": PARALLEL, "MaxNumberOfTrainingJobs": self.trials},
                "ParameterRanges": {"ContinuousParameterRanges": ranges},
            },
            "TrainingJobDefinition": {**self._definition, "StaticHyperParameters": {}},
        }

    @cached_property
    def _definition(self) -> dict[str, Any]:
        metrics = [{"Name": name, "Regex": f"{name.replace(':', '_')}=(.*?);"} for name in METRICS]
        return {
            "AlgorithmSpecification": {"TrainingInputMode": "File", "MetricDefinitions": metrics},
            "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/Bench",
            "OutputDataConfig": {"S3OutputPath": "s3://bench/out"},
            "ResourceConfig": {"InstanceType": INSTANCE, "InstanceCount": 1, "VolumeSizeInGB": 30},
            "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
        }

    def summary(self, trial: int) -> dict[str, Any]:
        """Return a trial as listed for the tuning job."""
        final = self.value(trial, 2, self.epochs - 1)
        return {
            **self._common(trial),
            "TunedHyperParameters": {"lr": repr(0.001 + trial / self.trials)},
            "ObjectiveStatus": "Succeeded",
            "FinalHyperParameterTuningJobObjectiveMetric": {"MetricName": METRICS[2], "Value": final},
        }

    def _common(self, trial: int) -> dict[str, Any]:
        start = self.start(trial)
        return {
            "TrainingJobName": self.names[trial],
            "TrainingJobArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/{self.names[trial]}",
            "TrainingJobStatus": "Completed",
            "CreationTime": float(start - 30),
            "TrainingStartTime": float(start),
            "TrainingEndTime": float(start + self.minutes * 60 - 30),
        }

    def training_job(self, trial: int) -> dict[str, Any]:
        """Return the response of DescribeTrainingJob."""
        end = float(self.start(trial) + self.minutes * 60 - 30)
        final = [
            {"MetricName": name, "Value": self.value(trial, n, self.epochs - 1), "Timestamp": end}
            for n, name in enumerate(METRICS)
        ]
        return {
            **self._common(trial),
            **self._definition,
            "TuningJobArn": ARN,
            "SecondaryStatus": "Completed",
            "ModelArtifacts": {"S3ModelArtifacts": f"s3://bench/out/{self.names[trial]}/output/model.tar.gz"},
            "HyperParameters": {"lr": repr(0.001 + trial / self.trials)},
            "FinalMetricDataList": final,
            "TrainingTimeInSeconds": self.minutes * 60 - 30,
            "BillableTimeInSeconds": self.minutes * 60 - 30,
        }

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        """All log lines, by time."""
        every = max(self.lines // self.epochs, 1)
        counter = itertools.count()
        filler = "x" * 60
        found = []
        for wave in range(0, self.trials, PARALLEL):
            group = range(wave, min(wave + PARALLEL, self.trials))
            streams = {n: f"{self.names[n]}/algo-1-{self.start(n)}" for n in group}
            for line in range(self.lines):
                for n in group:
                    moment = self.start(n) * 1000 + line * (self.minutes * 60 - 60) * 1000 // self.lines
                    found.append(
                        {
                            "logStreamName": streams[n],
                            "timestamp": moment,
                            "ingestionTime": moment + 5000,
                            "message": self._message(n, line, every, filler),
                            "eventId": f"{next(counter):056d}",
                        }
                    )
        return found

    def _message(self, trial: int, line: int, every: int, filler: str) -> str:
        if line % every or line // every >= self.epochs:
            return f"batch {line} of trial {trial}: {filler} {line * 0.001:.6f}"
        epoch = line // every
        values = (f"{name.replace(':', '_')}={self.value(trial, n, epoch)!r};" for n, name in enumerate(METRICS))
        return " ".join(values)
