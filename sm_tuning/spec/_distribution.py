"""Distributed PyTorch as a tuned job can carry it: the image toolkit's own static hyperparameters.

A tuning job can set neither the container's entrypoint nor its arguments [botocore model], so the launchers that
SDK v3 ships as a channel never run in it. What does run is the toolkit inside the image, and it is told about
distribution by hyperparameters (aws/sagemaker-pytorch-training-toolkit, training.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sm_tuning._errors import Problem, SpecError

#: The options of each launcher beside ``enabled``.
LAUNCHERS: dict[str, frozenset[str]] = {
    "torch_distributed": frozenset(),
    "pytorchddp": frozenset({"custom_mpi_options"}),
    "mpi": frozenset({"processes_per_host", "custom_mpi_options"}),
}

_REFUSED = {
    "smdistributed": "it needs a launcher that a tuned job cannot start; use torch_distributed",
    "parameter_server": "it belongs to TensorFlow; use torch_distributed",
    "torchrun": "use torch_distributed, which starts torchrun through the image's toolkit",
}


def check_distribution(distribution: Mapping[str, Any], entry_point: str) -> None:
    """Refuse what a tuned job cannot honour.

    Raises:
        SpecError: for an unknown launcher or option, for none or several, or for a script that it cannot start.
    """
    for message in _broken(distribution, entry_point):
        raise SpecError(Problem("distribution", "", message, "use a launcher that a tuning job can start"))


def _broken(distribution: Mapping[str, Any], entry_point: str) -> Iterator[str]:
    if len(distribution) != 1:
        yield f"distribution names one launcher, but got {sorted(distribution)}"
    ((name, options),) = distribution.items()
    if name not in LAUNCHERS:
        reason = _REFUSED.get(name.lower(), f"known launchers are {', '.join(sorted(LAUNCHERS))}")
        yield f"distribution {name!r} cannot be honoured in a tuning job: {reason}"
    if not isinstance(options, Mapping) or options.get("enabled") is not True:
        yield f"distribution {name!r} needs {{'enabled': True}}, but got {options!r}; leave it out to turn it off"
    unknown = sorted(set(options) - {"enabled"} - LAUNCHERS[name])
    if unknown:
        yield f"distribution {name!r} has no option {', '.join(unknown)} in a tuning job"
    processes = options.get("processes_per_host", 1)
    if not isinstance(processes, int) or isinstance(processes, bool) or processes < 1:
        yield f"processes_per_host must be a whole number >= 1, but got {processes!r}"
    if name != "mpi" and not entry_point.endswith(".py"):
        yield f"distribution {name!r} starts Python scripts only, but entry_point is {entry_point!r}"
