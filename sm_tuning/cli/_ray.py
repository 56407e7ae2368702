"""``sm-tuning restore``, and the part of ``launch`` that runs a spec on a Ray cluster."""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import click

import sm_tuning as smt
from sm_tuning.cli._options import Connect, connection_options, same_place
from sm_tuning.cli._output import as_json, say

_ADDRESS = "auto|local|HOST:PORT"


def ray_option(required: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the decorator that adds the option ``--ray``."""
    return click.option(
        "--ray",
        "address",
        metavar=_ADDRESS,
        required=required,
        help="Run on Ray: on the cluster of this machine or of RAY_ADDRESS (auto), on a new one of this machine alone "
        "(local), or on the cluster at an address.",
    )


@click.command()
@click.argument("uri")
@ray_option(required=True)
@as_json
@connection_options
def restore(uri: str, address: str, as_json: bool, connect: Connect) -> None:
    """Continue a run on Ray that was interrupted.

    URI is the folder of the run, `<storage_path>/<name>`. Trials that have ended are not trained again. Ray unpickles
    files of the folder: restore only runs that you trust.

    The exit code follows the outcome of the run, as with `launch --ray`.

    Example: sm-tuning restore s3://my-bucket/ray/digits --ray auto
    """
    aws = connect(studies=False)  # with --local, S3 is that of the SageMaker on this machine
    _drive(lambda: smt.restore_ray(uri), uri.rstrip("/"), address, aws, as_json=as_json)


def launch_on_ray(tuning: smt.Tuning, address: str, aws: smt.Aws, *, name: str | None, as_json: bool) -> None:
    """Run a tuning on a Ray cluster to its end, with the progress on stderr, and print the summary.

    Raises:
        SpecError: the tuning cannot run there.
        JobError: the run failed.
        EndpointError: there is no cluster at the address.
        KeyboardInterrupt: the run was interrupted; a message says how to continue.
    """
    from sm_tuning import request  # noqa: PLC0415  (it loads pydantic, which the help of `launch` needs not)

    chosen = name or request.unique_name(request.base_name(tuning), now=datetime.now(UTC), token=secrets.token_hex(2))
    storage = (tuning.ray.storage_path if tuning.ray is not None else None) or ""

    def make() -> Any:
        from ray import tune  # noqa: PLC0415 - a second

        return smt.to_ray(tuning, name=chosen, run_config=tune.RunConfig(verbose=0))

    _drive(make, f"{storage.rstrip('/')}/{chosen}", address, aws, as_json=as_json)


def _drive(make: Callable[[], Any], uri: str, address: str, aws: smt.Aws, *, as_json: bool) -> None:
    from sm_tuning.cli._jobs import finish  # noqa: PLC0415  (which imports this module)

    _connect_ray(address)  # first: without a cluster, no folder is made
    tuner = make()
    job = smt.attach(uri, aws=aws)

    def follow() -> None:
        _fit(tuner, job)
        if not smt.TuningStatus(job.status).is_terminal:  # Ray itself handles Ctrl-C, and returns
            say(f"continue it with `sm-tuning restore {uri} --ray {address}{same_place()}`")
            raise KeyboardInterrupt

    finish(job, as_json=as_json, follow=follow, again="", place=uri)


def _connect_ray(address: str) -> None:
    """Connect to a cluster.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: the address is invalid.
        EndpointError: there is no cluster.
    """
    if address == "local":
        # Ray replaces 127.0.0.1 by an address of the machine, and listens there, unless clusters are off.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray  # noqa: PLC0415
    except ImportError as error:
        raise smt.MissingExtraError("a run on Ray", "ray") from error
    host, _, port = address.rpartition(":")
    if address not in ("auto", "local") and not (host and "/" not in host and port.isdecimal()):
        raise click.UsageError(f"--ray takes {_ADDRESS}, not {address!r}")
    options: Mapping[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    if address == "local":
        options = {**options, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # progress is that of sm-tuning
    try:
        ray.init(address=address, **options)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        advice = "start one with `ray start --head`, or use --ray local"
        raise smt.EndpointError(f"there is no Ray cluster at {address!r} ({reason}): {advice}") from error


def _fit(tuner: Any, job: Any) -> None:
    """Run a tuner, with the progress of its job on stderr.

    Raises:
        JobError: the run failed.
    """
    failures: list[smt.SmTuningError] = []

    def follow() -> None:
        try:
            job.wait()
        except smt.SmTuningError as error:
            failures.append(error)

    watcher = threading.Thread(target=follow, name="progress", daemon=True)  # Ray wants the main thread
    watcher.start()
    tuner.fit()
    if smt.TuningStatus(job.status).is_terminal:
        watcher.join()
    if failures:
        raise failures[0]
