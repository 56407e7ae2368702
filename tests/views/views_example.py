"""A made-up job whose report looks like one of a real job: the one of the screenshots in the documentation."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from views_frames import describe, gathered, summary, trials

from sm_tuning import results
from sm_tuning.description import job_of
from sm_tuning.results import analysis
from sm_tuning.results._schema import frame
from sm_tuning.views._content import Gathered

NAME = "digits-20260301-1200"
EPOCHS = 12
RANGES = {
    "ContinuousParameterRanges": [
        {"Name": "lr", "MinValue": "0.0001", "MaxValue": "0.1", "ScalingType": "Logarithmic"},
        {"Name": "dropout", "MinValue": "0", "MaxValue": "0.6", "ScalingType": "Linear"},
        {"Name": "momentum", "MinValue": "0.5", "MaxValue": "0.99", "ScalingType": "ReverseLogarithmic"},
    ],
    "IntegerParameterRanges": [
        {"Name": "hidden", "MinValue": "16", "MaxValue": "512", "ScalingType": "Logarithmic"},
    ],
    "CategoricalParameterRanges": [{"Name": "optimizer", "Values": ["sgd", "adam", "lion"]}],
}
TRACEBACK = """Traceback (most recent call last):
  File "/opt/ml/code/train.py", line 118, in <module>
    main()
  File "/opt/ml/code/train.py", line 96, in main
    raise FloatingPointError(f"the loss is {loss} after epoch {epoch}")
FloatingPointError: the loss is nan after epoch 2
"""


def example(count: int = 48) -> Gathered:
    """A Bayesian search that closes in on a valley, with trials that failed or were stopped early."""
    rng = np.random.default_rng(3)
    description = describe(NAME, ranges=RANGES, static={"epochs": str(EPOCHS), "batch-size": "64"})
    config = description["HyperParameterTuningJobConfig"]
    config["Strategy"] = "Bayesian"
    config["ResourceLimits"] = {"MaxNumberOfTrainingJobs": count, "MaxParallelTrainingJobs": 2}
    config["TrainingJobEarlyStoppingType"] = "Auto"
    found = [_trial(number, number / count, rng) for number in range(1, count + 1)]
    table = trials([one for one, _ in found], description)
    curves = _curves([one["TrainingJobName"] for one, _ in found], [losses for _, losses in found])
    facts = analysis.facts_of(job_of(description))
    failed = table[table["TrainingJobStatus"] == "Failed"]["TrainingJobName"].tolist()
    said = {"TrainingJobName": failed, "Traceback": [TRACEBACK] * len(failed)}
    importance = analysis.importance(table, facts)
    return gathered(
        table,
        description,
        curves=curves,
        importance={NAME: importance},
        advice={NAME: analysis.advice(table, curves, facts, importance=importance)},
        errors=frame(results.ERRORS, {name: said.get(name, [None] * len(failed)) for name in results.ERRORS}),
    )


def _trial(number: int, progress: float, rng: np.random.Generator) -> tuple[dict[str, object], list[float]]:
    """A trial's summary, and its loss on held-out data after each epoch."""
    guess = rng.random(4)
    # The later, the nearer to a good point, as under a Bayesian search.
    pull = 0.75 * progress if rng.random() < 0.7 else 0.0
    lr, dropout, momentum, hidden = guess + pull * (np.array([0.9, 0.3, 0.75, 0.8]) - guess)
    optimizer = ["sgd", "adam", "lion"][int(rng.integers(3))]
    loss = 0.09 + 1.1 * (lr - 0.86) ** 2 + 0.5 * (dropout - 0.35) ** 2 + 0.15 * (hidden - 0.7) ** 2
    loss += {"sgd": 0.06, "adam": 0.0, "lion": 0.02}[optimizer] + 0.05 * (momentum - 0.8) ** 2 + 0.012 * rng.random()
    losses = [loss + 2.1 * math.exp(-epoch / (1.5 + lr)) for epoch in range(1, EPOCHS + 1)]
    changes: dict[str, object] = {"value": loss}
    if lr > 0.97 or number in (4, 17):
        losses = losses[:2]
        changes = {
            "TrainingJobStatus": "Failed",
            "value": None,
            "FailureReason": "AlgorithmError: ExecuteUserScriptError FloatingPointError: the loss is nan after epoch 2",
        }
    elif loss > 0.55:
        losses = losses[:5]
        changes = {"TrainingJobStatus": "Stopped", "value": losses[-1]}
    tuned = {
        "lr": repr(round(10 ** (-4 + 3 * float(lr)), 6)),
        "dropout": repr(round(0.6 * float(dropout), 4)),
        "momentum": repr(round(1 - 0.5 * 0.02 ** float(momentum), 4)),
        "hidden": str(round(16 * 32 ** float(hidden))),
        "optimizer": optimizer,
    }
    return summary(number, NAME, tuned=tuned, **changes), losses


def _curves(names: list[str], losses: list[list[float]]) -> pd.DataFrame:
    """Curves of two metrics: the loss on training data falls further."""
    rows = [
        (name, metric, epoch, value * factor)
        for name, curve in zip(names, losses, strict=True)
        for metric, factor in (("validation:loss", 1.0), ("train:loss", 0.82))
        for epoch, value in enumerate(curve)
    ]
    return frame(
        results.CURVES,
        {
            "TrainingJobName": [name for name, _, _, _ in rows],
            "MetricName": [metric for _, metric, _, _ in rows],
            "Step": [epoch for _, _, epoch, _ in rows],
            "Timestamp": [0 for _ in rows],
            "ElapsedSeconds": [4.0 * epoch for _, _, epoch, _ in rows],
            "Value": [value for _, _, _, value in rows],
            "Source": ["logs" for _ in rows],
        },
    )
