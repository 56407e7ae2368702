"""The remote driver: a small training job that drives a study with the same loop as the client.

The job's source is this package and a script, so that no image has to be built. Its role is that of the trials.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from sm_tuning._statuses import TrainingStatus
from sm_tuning._wire import OBJECTIVE_KEY, STUDY_VARIABLE
from sm_tuning.aws import CLOCK, Aws, Clock, connect, upload
from sm_tuning.request import stage_training, training_request, write_definition
from sm_tuning.spec import PyTorchEstimator, TrainingDefinition
from sm_tuning.studies._control import drive_study
from sm_tuning.studies._record import STORE_TAG, STUDY_TAG
from sm_tuning.studies._store import Lease, LeaseLostError, Store
from sm_tuning.studies._trials import StudyTrials, read_study

_log = logging.getLogger(__name__)

_DISTRIBUTION = "sm-tuning"
#: What strategies need besides the base install: the extra that has it, and the names of the packages.
_MODEL = ("local", ("scipy", "threadpoolctl"))
_FURTHER = {
    "Bayesian": _MODEL,
    "BayesianHyperband": _MODEL,
    "Optuna": ("optuna", ("cmaes", "greenlet", "optuna")),
}
#: Seconds for which a driver runs at most; the next one continues.
_LONGEST = 5 * 24 * 3600

#: The image of the driver has some of the packages; only those that it lacks are installed.
_SCRIPT = """\
import subprocess, sys
from importlib import metadata
def lacks(line):
    from packaging.requirements import Requirement
    needed = Requirement(line)
    try:
        return not needed.specifier.contains(metadata.version(needed.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return True
missing = [line for line in open("driver-requirements.txt").read().splitlines() if lacks(line)]
if missing:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *missing], check=True)
from sm_tuning.studies import drive_here
drive_here()
"""


def start_driver(aws: Aws, trials: StudyTrials, *, instance_type: str = "ml.t3.medium") -> str | None:
    """Start the training job that drives a study; return its name, or None if somebody drives already.

    Args:
        aws: the connection.
        trials: of the study.
        instance_type: of the driver.

    Raises:
        ServiceError: AWS refused or could not be reached.
    """
    study = trials.study
    if trials.read_end() or driver_job(aws, study.name) is not None or Lease.holder(trials.store) is not None:
        return None
    first = study.definitions[0]
    name = f"{study.name}-driver-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory() as folder:
        _write_source(Path(folder), study.request["HyperParameterTuningJobConfig"]["Strategy"])
        estimator = PyTorchEstimator(
            entry_point="drive_study.py",
            source_dir=folder,
            framework_version="2.6",
            py_version="py312",
            instance_type=instance_type,
            volume_size=5,
            max_run=_LONGEST,
            role=first["RoleArn"],
            output_path=f"{trials.store.uri}/driver",
            environment={STUDY_VARIABLE: trials.store.uri},
        )
        root = f"{trials.store.uri}/driver"
        staged, _, uploads = stage_training(estimator, {}, code_prefix=root, data_prefix=root)
        assert staged is not None
        upload(aws, uploads)
    definition = write_definition(TrainingDefinition(estimator=staged), name=name, region=study.region)
    if "VpcConfig" in first:
        definition["VpcConfig"] = first["VpcConfig"]
    tags = {**study.tags, STUDY_TAG: study.name, STORE_TAG: trials.store.uri}
    request = training_request(definition, {}, name=name, objective="", tags=tags, further={})
    del request["HyperParameters"][OBJECTIVE_KEY]
    aws.call("sagemaker", "create_training_job", **request)
    return name


def driver_job(aws: Aws, study: str) -> str | None:
    """Return the training job that drives a study; None if none runs.

    Raises:
        ServiceError: AWS refused or could not be reached.
    """
    running = str(TrainingStatus.IN_PROGRESS)
    pages = aws.pages("sagemaker", "list_training_jobs", NameContains=f"{study}-driver-", StatusEquals=running)
    names = (summary["TrainingJobName"] for page in pages for summary in page["TrainingJobSummaries"])
    return next((name for name in names if name.startswith(f"{study}-driver-")), None)


def drive_here(*, clock: Clock = CLOCK) -> None:
    """Drive the study of the environment to its end, as the remote driver does.

    Raises:
        SpecError: the study does not exist.
        ServiceError: AWS refused or could not be reached.
    """
    with connect() as aws:
        store = Store(aws, os.environ[STUDY_VARIABLE])
        while True:
            study = read_study(store)
            assert study is not None, store.uri
            trials = StudyTrials(aws, store, study)
            try:
                if drive_study(aws, trials, clock=clock).drove:
                    print(f"the study {study.name} has ended", flush=True)  # noqa: T201 - the log of the job
                    return
            except LeaseLostError as error:
                _log.info("%s", error)
            clock.sleep(aws.poll_interval)


def requirements(declared: Iterable[str], strategy: str) -> list[str]:
    """Return what a driver needs: the base install and, of the extra that its strategy belongs to, the strategy's part.

    Args:
        declared: the requirements of this package, with those of its extras.
        strategy: of the study.
    """
    extra, names = _FURTHER.get(strategy, ("", ()))
    found = []
    for line in declared:
        needed, _, marker = line.partition(";")
        name = re.split(r"[^\w.-]", needed, maxsplit=1)[0]
        if "extra ==" not in marker or (marker.split()[-1].strip("'\"") == extra and name in names):
            found.append(needed.strip() if "extra ==" in marker else line)
    return found


def _write_source(folder: Path, strategy: str) -> None:
    """Write the script, this package and the names of what it needs."""
    package = Path(__file__).parents[1]
    shutil.copytree(package, folder / "sm_tuning", ignore=shutil.ignore_patterns("__pycache__"))
    found = metadata.distribution(_DISTRIBUTION)
    own = folder / f"sm_tuning-{found.version}.dist-info"
    own.mkdir()
    (own / "METADATA").write_text(found.read_text("METADATA") or "")
    (folder / "driver-requirements.txt").write_text("\n".join(requirements(found.requires or (), strategy)) + "\n")
    (folder / "drive_study.py").write_text(_SCRIPT)
