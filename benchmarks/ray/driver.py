"""A driver on a cluster: ``python -m benchmarks.ray.driver HOST:PORT``, with a step in each line of stdin.

Steps: ``{"run": spec file, "name": …, "storage": …}`` with ``scheduler: "asha"`` or ``pbt: {…}``. A line of stdout for
each has its number, and the trials as Ray has them or the error.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import ray
import sm_tuning as smt
from benchmarks.ray.cluster import LOOPBACK
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from sm_tuning.ray import to_ray


def tuner_of(step: dict[str, Any]) -> Any:
    scheduler = None
    if step.get("scheduler") == "asha":
        scheduler = ASHAScheduler(max_t=9, grace_period=1, reduction_factor=3)
    return to_ray(
        smt.load(step["run"]),
        storage_path=step["storage"],
        name=step["name"],
        pbt=step.get("pbt"),
        resources=step.get("resources"),
        scheduler=scheduler,
        run_config=tune.RunConfig(verbose=0),
        grace=step.get("grace", 5.0),
        checkpoint_period=step.get("period", 0.5),
    )


def results_of(step: dict[str, Any]) -> dict[str, Any]:
    try:
        grid = tuner_of(step).fit()
    except smt.SmTuningError as error:
        return {"error": str(error)}
    trials = [
        {
            "config": result.config,
            "iteration": (result.metrics or {}).get("training_iteration"),
            "error": str(result.error).splitlines()[-1] if result.error else None,
            "checkpoint": result.checkpoint and result.checkpoint.path,
        }
        for result in grid
    ]
    return {"trials": trials}


def main(address: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Ray prints
    ray.init(address=address, _node_ip_address=LOOPBACK, log_to_driver=False)
    for number, line in enumerate(sys.stdin, 1):
        print(json.dumps({"number": number, **results_of(json.loads(line))}, default=str), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
