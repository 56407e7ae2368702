"""From a tuning to a ``ray.tune.Tuner``, and from the folder of an interrupted run to the one that continues it."""

from __future__ import annotations

import copy
import io
import math
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from sm_tuning._errors import MissingExtraError, NameTakenError, Problem, SpecError
from sm_tuning.archive import JOB_FILE, write_job
from sm_tuning.request import Upload, base_name, resource_config, stage, to_request, unique_name
from sm_tuning.spec import AnyInput, Input, PopulationConfig, RaySettings, Tuning, as_tuning

# The two functions are public names of the package, which can be looked at without the extra.
try:
    from ray import cloudpickle, tune
    from ray.tune.schedulers import TrialScheduler
    from ray.tune.search import Searcher
    from ray.tune.stopper import CombinedStopper, FunctionStopper

    from sm_tuning.executor import hosts_of
    from sm_tuning.executor.algorithms import algorithm_for
    from sm_tuning.ray._callback import RunCallback
    from sm_tuning.ray._job import INDEX, RayJob
    from sm_tuning.ray._search import CriteriaStopper, Ledger, StrategyScheduler, StrategySearcher, places_of
    from sm_tuning.ray._space import domains
    from sm_tuning.ray._storage import NODE_FILES, RecordedJobs, Storage, filesystem_of, reachable
    from sm_tuning.ray._trainable import SageMakerTrial
except ImportError as _error:
    _missing: ImportError | None = _error
else:
    _missing = None

_ROLE = "arn:aws:iam::000000000000:role/ray"  # requests have one, and nothing here reads it
#: Fields of estimators that lead out of the storage or ask for what only the service has.
_DROPPED: Mapping[str, Any] = {"output_path": None, "code_location": None, "output_kms_key": None}


def to_ray(  # noqa: PLR0913 - each option by its name
    tuning: Tuning | str | os.PathLike[str],
    *,
    storage_path: str | os.PathLike[str] | None = None,
    name: str | None = None,
    resources: Mapping[str, float] | None = None,
    pbt: PopulationConfig | Mapping[str, Any] | None = None,
    scheduler: Any = None,
    search_alg: Any = None,
    run_config: Any = None,
    grace: float = 30.0,
    checkpoint_period: float = 10.0,
    now: Callable[[], float] = time.time,
) -> Any:
    """Return a ``ray.tune.Tuner`` that runs a tuning on a Ray cluster: its script unchanged, its strategy by default.

    ``fit()`` runs it. Files of this machine are copied to the storage; nothing is sent to AWS, except to ``s3://``
    places that the arguments and the spec name. ``attach("<storage_path>/<name>")`` reads the run at any time.

    Args:
        tuning: what to tune, or the path of a spec file.
        storage_path: a folder that all nodes see, or an ``s3://`` prefix.
        name: of the run, up to 32 characters; generated and unique by default.
        resources: of each trial, such as ``{"cpu": 2, "gpu": 0.5}``; one processor by default.
        pbt: population based training, in place of the spec's strategy and number of jobs.
        scheduler: a scheduler of Ray, in place of the spec's early stopping.
        search_alg: a searcher of Ray, in place of the spec's strategy.
        run_config: a ``ray.tune.RunConfig`` with further settings of the run, such as callbacks.
        grace: seconds between SIGTERM and SIGKILL when a trial is stopped.
        checkpoint_period: seconds between two copies of a trial's checkpoints and of its log.
        now: returns epoch seconds.

    Raises:
        SpecError: the spec has a setting that a run on Ray cannot have, or a file is missing.
        NameTakenError: the storage has a run of that name.
        MissingExtraError: Ray is not installed.
    """
    _insist_on_ray()
    spec = _with_block(as_tuning(tuning), storage_path=storage_path, resources=resources, pbt=pbt)
    assert spec.ray is not None
    if spec.ray.storage_path is None:
        raise SpecError("storage_path is required: a folder that all nodes of the cluster see, or an s3:// prefix")
    population = spec.ray.pbt
    settings: dict[str, Any] = {"grace": grace, "checkpoint_period": checkpoint_period}
    problems = [*_spec_problems(spec), *_argument_problems(spec, settings, scheduler, search_alg, run_config)]
    if problems:
        raise SpecError([f"{problem}: {problem.fix}" for problem in problems])
    created = now()
    stamp = datetime.fromtimestamp(created, UTC)
    chosen = name or unique_name(base_name(spec), now=stamp, token=secrets.token_hex(2))
    place = f"{spec.ray.storage_path.rstrip('/')}/{chosen}"
    with reachable(place):
        storage = Storage(*filesystem_of(place))
        is_taken = storage.files.read(JOB_FILE) is not None
    if is_taken:
        raise NameTakenError(
            f"{storage.uri} has a run already: choose another name, or continue it with restore_ray({storage.uri!r})"
        )
    settings["resources"] = dict(spec.ray.resources)
    if population is not None:
        settings["pbt"] = population.model_dump(mode="json")
    request, uploads = _request(spec, chosen, storage, population)
    seed = secrets.randbelow(2**31) if spec.random_seed is None else spec.random_seed
    job = RayJob(request, seed, _region(), created, settings)
    ledger = Ledger(job)
    _ = ledger.rules  # an invalid search is an error before anything is written
    with reachable(place):
        for upload in uploads:
            _put(storage, upload)
        write_job(storage.files, job.document(spec))
    return _tuner(spec, ledger, storage, scheduler, search_alg, run_config)


def restore_ray(uri: str | os.PathLike[str]) -> Any:
    """Return the ``ray.tune.Tuner`` that continues an interrupted run. Ray unpickles files of the folder: trust them.

    Trials that have ended are not trained again; others continue from their last checkpoints.

    Args:
        uri: ``<storage_path>/<name>`` of the run.

    Raises:
        SpecError: the folder is not that of a run on Ray.
        MissingExtraError: Ray is not installed.
    """
    _insist_on_ray()
    place = os.fspath(uri).rstrip("/")
    with reachable(place):
        storage = Storage(*filesystem_of(place))
        job = RayJob.of(storage.files.read(JOB_FILE), storage.uri)
        content, names = storage.files.read("tuner.pkl"), storage.names("")
    trainable = tune.with_resources(SageMakerTrial, dict(job.settings["resources"]))
    if content is None:
        raise SpecError(f"{storage.uri} has no tuner.pkl, which Ray needs to continue a run: start it anew")
    if not any(name.startswith("experiment_state") for name in names):
        # The driver died before Ray's first record of the run, or never started it. Training jobs are in the storage.
        state = cloudpickle.loads(content)
        tune_config, run_config = state["_tune_config"], state["_run_config"]
        return tune.Tuner(trainable, param_space={}, tune_config=tune_config, run_config=run_config)
    return tune.Tuner.restore(
        storage.path,
        trainable,
        resume_unfinished=True,
        resume_errored=True,
        storage_filesystem=_custom(storage),
    )


def _insist_on_ray() -> None:
    if _missing is not None:
        raise MissingExtraError("a run on Ray", "ray") from _missing


def _custom(storage: Storage) -> Any:
    """Return the file system for Ray; None where it finds the same by itself."""
    return None if storage.is_local else storage.filesystem


def _with_block(spec: Tuning, **given: Any) -> Tuning:
    """Return a spec whose block ``ray`` has what is given.

    Raises:
        SpecError: the settings do not fit together.
    """
    plain = {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in given.items()}
    changes = {name: value for name, value in plain.items() if value is not None}
    return spec.replace(ray=(spec.ray or RaySettings()).replace(**changes))


def _spec_problems(spec: Tuning) -> Iterator[Problem]:
    """Yield the settings of a spec that a run on Ray cannot have, beside those that the block ``ray`` excludes."""
    estimator = spec.estimator
    image = getattr(estimator, "image_uri", None)
    if estimator is not None and not estimator.is_script_mode and image and algorithm_for(image) is None:
        message = f"the nodes of a Ray cluster run scripts, not the container {image!r}"
        yield Problem("ray", "estimator.image_uri", message, "give entry_point")
    for name, channel in spec.inputs.items():
        if not isinstance(channel, Input):
            fix = "give a path, a file:// path that all nodes see, or an s3:// URI"
            yield Problem("ray", f"inputs.{name}", "is neither a path nor in S3", fix)
    if spec.warm_start is not None:
        yield Problem("ray", "warm_start", "a run on Ray cannot learn from other jobs", "leave warm_start out")


def _argument_problems(
    spec: Tuning, seconds: Mapping[str, Any], scheduler: Any, search_alg: Any, run_config: Any
) -> Iterator[Problem]:
    """Yield the arguments that are invalid or do not fit together."""
    for name, least in (("grace", 0), ("checkpoint_period", 0.1)):
        if not isinstance(seconds[name], int | float) or not least <= seconds[name] < math.inf:
            message = f"must be a number of seconds, but is {seconds[name]!r}"
            yield Problem("ray", name, message, f"give {least:g} or more")
    if spec.ray is not None and spec.ray.pbt is not None and (scheduler is not None or search_alg is not None):
        message = "population based training is a search of its own, without a scheduler"
        yield Problem("ray", "pbt", message, "give pbt alone")
    kinds = (
        ("search_alg", search_alg, Searcher),
        ("scheduler", scheduler, TrialScheduler),
        ("run_config", run_config, tune.RunConfig),
    )
    for name, given, kind in kinds:
        if given is not None and not isinstance(given, kind):
            message = f"must be a {kind.__name__} of Ray Tune, but is {type(given).__name__}"
            yield Problem("ray", name, message, "see the reference of ray.tune")
    if scheduler is not None and getattr(scheduler, "_metric", None):
        message = "the scheduler has a metric of its own, but the spec names the objective"
        yield Problem("ray", "scheduler", message, "leave metric and mode out of the scheduler")


def _request(
    spec: Tuning, name: str, storage: Storage, population: PopulationConfig | None
) -> tuple[dict[str, Any], tuple[Upload, ...]]:
    """Return the request of a tuning whose files are in the storage, and the files to put there."""
    assert spec.estimator is not None
    prefix = f"{storage.object_uri}/sm"
    estimator = spec.estimator.replace(**_DROPPED, role=spec.estimator.role or _ROLE)
    path = estimator.checkpoint_local_path
    changes: dict[str, Any] = {"estimator": estimator.replace(checkpoint_s3_uri=None, checkpoint_local_path=None)}
    changes["inputs"] = {key: _linked(key, channel) for key, channel in spec.inputs.items()}
    if population is not None:
        intervals = math.ceil(population.max_resource / population.interval)
        changes |= {"strategy": "Random", "strategy_config": None, "max_jobs": population.size * intervals}
        changes["early_stopping_type"] = "Off"
    staged = stage(spec.replace(**changes), code_prefix=f"{prefix}/code", data_prefix=f"{prefix}/data")
    request = to_request(staged.tuning, name=name, region=_region(), output_path=f"{prefix}/jobs")
    definition = request["TrainingJobDefinition"]
    hosts = hosts_of({"ResourceConfig": resource_config(definition)})
    if len(hosts) > 1:
        message = f"a trial on Ray runs on one host, and the estimator asks for {len(hosts)}: use one instance"
        raise SpecError(Problem("ray", "estimator", message))
    if path:
        definition["CheckpointConfig"] = {"LocalPath": path}
    return request, staged.uploads


def _linked(name: str, channel: AnyInput) -> AnyInput:
    """Return a channel that the nodes see as a path; other ones as they are.

    Raises:
        SpecError: the path does not exist here.
    """
    if not isinstance(channel, Input) or not channel.uri.startswith("file://"):
        return channel
    path = Path(channel.uri.removeprefix("file://"))
    if not path.exists():
        raise SpecError(Problem("files", f"inputs.{name}", f"{channel.uri!r} does not exist here: correct the path"))
    return channel.replace(uri=f"{NODE_FILES}{path.absolute()}")


def _put(storage: Storage, upload: Upload) -> None:
    if isinstance(upload.source, Path):
        storage.upload(upload.source, upload.uri)
    else:
        storage.put(io.BytesIO(upload.source), upload.uri)


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def _tuner(spec: Tuning, ledger: Ledger, storage: Storage, scheduler: Any, search_alg: Any, run_config: Any) -> Any:
    assert spec.ray is not None
    job = ledger.job
    place = f"s3://{storage.path}" if not storage.is_local else storage.path
    retries = (job.definition.get("RetryStrategy") or {}).get("MaximumRetryAttempts", 0)
    config = copy.copy(run_config) if run_config is not None else tune.RunConfig()
    default = tune.RunConfig()
    fields = ("name", "storage_path", "storage_filesystem")
    given = [field for field in fields if getattr(config, field) != getattr(default, field)]
    if given:
        raise SpecError(f"run_config has {', '.join(given)}: give name and storage_path to to_ray")
    config.name, parent = job.name, storage.path.rpartition("/")[0]
    config.storage_path, config.storage_filesystem = parent, _custom(storage)
    config.stop = CriteriaStopper(ledger, _stopper(config.stop))
    prunes = config.checkpoint_config is None or config.checkpoint_config.num_to_keep is None
    config.callbacks = [*(config.callbacks or ()), RunCallback(ledger, place, prunes=prunes)]
    if run_config is None or run_config.failure_config is None or not run_config.failure_config.max_failures:
        config.failure_config = tune.FailureConfig(max_failures=retries)
    if search_alg is not None:
        space = domains(spec)
        ranges = {name: space[name] for name in spec.hyperparameter_ranges}
        search_alg.set_search_properties(job.metric, job.mode, ranges)  # False if it has a space of its own already
    tune_config = tune.TuneConfig(
        metric=job.metric,
        mode=job.mode,
        search_alg=StrategySearcher(
            ledger, RecordedJobs(place), search_alg, places=partial(places_of, job.settings["resources"])
        ),
        scheduler=scheduler if scheduler is not None else StrategyScheduler(ledger),
        num_samples=ledger.rules.max_jobs,
        max_concurrent_trials=int(job.config["ResourceLimits"]["MaxParallelTrainingJobs"]),
        reuse_actors=True,
        trial_name_creator=_trial_name,
        trial_dirname_creator=_trial_name,
    )
    trainable = tune.with_resources(SageMakerTrial, dict(job.settings["resources"]))
    return tune.Tuner(trainable, param_space={}, tune_config=tune_config, run_config=config)


def _trial_name(trial: Any) -> str:
    """Return the number of the ask and Ray's own id: after a restore, a number may have a second trial."""
    return f"{trial.config[INDEX]:03d}-{trial.trial_id}"


def _stopper(stop: Any) -> Any:
    """Return the stopper of the user, of whatever kind Ray takes; None without one."""
    if stop is None or isinstance(stop, tune.Stopper):
        return stop
    if isinstance(stop, list):
        return CombinedStopper(*map(_stopper, stop))
    if isinstance(stop, Mapping):
        return FunctionStopper(_Bounds(stop))
    return FunctionStopper(stop)


class _Bounds:
    """Ends a trial at the first result in which one of the named values is reached, as Ray's dictionaries say."""

    def __init__(self, bounds: Mapping[str, float]) -> None:
        self._bounds = dict(bounds)

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Return whether a trial has reached a bound."""
        del trial_id
        return any(name in result and result[name] >= bound for name, bound in self._bounds.items())
