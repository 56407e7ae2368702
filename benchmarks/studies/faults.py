"""Studies on an AWS that lags, throttles, loses answers and stops slowly, and whose drivers die: nothing is lost.

No process is started: the AWS is that of the tests, its clock passes at once, and a death is an error at a call.
"""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random
from typing import Any

import sm_tuning as smt
from benchmarks.studies.kills import Result
from sm_tuning import studies

#: The share of the calls that are throttled, and of those whose answer is lost.
_SHARE = 0.04
_DRIVERS = 200  # at most, one after the other

_CONTINUED: dict[str, Any] = {"estimator": {"checkpoint_s3_uri": "s3://bkt/ck"}, "max_parallel_jobs": 3}
_FIELDS: dict[str, dict[str, Any]] = {
    "Random": {"max_jobs": 9, "max_parallel_jobs": 3},
    "Bayesian": {"max_jobs": 7, "max_parallel_jobs": 2},
    "Optuna": {"max_jobs": 9, "max_parallel_jobs": 3, "strategy_config": {"options": {"n_startup_trials": 2}}},
    "Promotion": {**_CONTINUED, "max_jobs": 13, "strategy_config": {"max_resource": 9}},
    "Population": {**_CONTINUED, "max_jobs": None, "strategy_config": {"size": 3, "max_resource": 3}},
}


def disturbed(kind: str, seed: int, *, is_stopped: bool = False) -> Result:
    """Bring a study to its end, by driver after driver, and look at its trials.

    Lists lag by 30 seconds and begin with two empty pages that have a token, a stop takes two minutes, calls are
    throttled, and answers are lost after their call had its effect. A driver dies at some call.

    Args:
        kind: the strategy.
        seed: of the faults and deaths.
        is_stopped: stop the study after its second driver.
    """
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "studies"))
    import small_aws  # noqa: PLC0415 - the AWS of the tests, found only now

    dice, epochs = Random(seed), dict[str, int]()

    def fault(called: str, _number: int, done: bool) -> None:
        if called == "GetCallerIdentity" or dice.random() > _SHARE:
            return
        if done:
            raise ConnectionError  # the answer is lost
        raise small_aws.Refusal(*((503, "SlowDown") if ":" in called else (400, "ThrottlingException")))

    with small_aws.SmallAws().running() as service:
        service.lag, service.empty_pages, service.stopping = 30.0, 2, 120.0
        fields = {"strategy": kind, **_FIELDS[kind]}
        if "estimator" in fields:
            service.end_of = small_aws.saving(service, epochs)
        study = small_aws.launched(service, **fields)
        service.fault = fault
        deaths, outcome, begun = 0, None, None
        mortal = service.connect(small_aws.Mortal)  # one for all drivers: clients take a second to make
        for number in range(_DRIVERS):
            mortal.left, mortal.is_after = dice.randrange(10, 120), dice.random() < 0.5
            try:
                if is_stopped and number >= 2 and begun is None:
                    store = studies.Store(mortal, study.uri)
                    record = studies.read_study(store)
                    assert record is not None
                    trials = studies.StudyTrials(mortal, store, record)
                    studies.stop_study(mortal, trials, clock=small_aws.quick(service))
                    begun = set(service.jobs)
                outcome = small_aws.drive(service, mortal, poll=5.0).outcome
            except (smt.ServiceError, small_aws.Dead):
                deaths += 1
            if outcome is not None:
                break
            service.now += 61  # the lease of a driver that has died expires
        service.fault = lambda *_: None
        wrong = list(_wrong(service, study, epochs, "Stopped" if "s/stop.json" in service.records() else "Completed"))
        if begun is not None and begun != set(service.jobs):
            wrong.append(f"{sorted(set(service.jobs) - begun)} began after the stop")
        continued = sum(bool(data.get("parent")) for key, data in service.records().items() if key[:7] == "trials/")
        return Result(deaths, len(service.jobs), continued, wrong)


def _wrong(service: Any, study: smt.Study, epochs: dict[str, int], status: str) -> Any:
    """Yield a sentence for each thing that is wrong."""
    records = {int(key[7:11]): data for key, data in service.records().items() if key.startswith("trials/")}
    if str(study.status) != status:
        yield f"the study is {study.status}, not {status}"
    numbers = sorted(int(name.split("-")[1]) for name in service.jobs)
    if numbers != sorted(records) and not (status == "Stopped" and {*numbers} <= {*records}):
        yield f"the training jobs {numbers} belong to the records {sorted(records)}"
    for name, job in service.jobs.items():
        record = records.get(int(name.split("-")[1]))
        if record is None or not record["hyperparameters"].items() <= job["HyperParameters"].items():
            yield f"{name} was started with {job['HyperParameters']}, but its record is {record}"
        elif name in epochs:
            parent = records[record["parent"]]["hyperparameters"]["epochs"] if record["parent"] else "0"
            if epochs[name] != int(record["hyperparameters"]["epochs"]) - int(parent):
                yield f"{name} trained {epochs[name]} epochs after trial {record['parent']}"
        if job["TrainingJobStatus"] in ("InProgress", "Stopping"):
            yield f"{name} is {job['TrainingJobStatus']} after the end"
