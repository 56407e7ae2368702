"""What a hostile archive, object or neighbour may try, through the whole server."""

import contextlib
import io
import stat
import tarfile
import uuid

import pytest
from _training import IMAGE, LOSS, wait_for

from sm_tuning.local._config import resolve_state_dir

HARMLESS = "print('loss=1')"


def member(name, text="", **members):
    info = tarfile.TarInfo(name)
    info.size = len(text)
    for key, value in members.items():
        setattr(info, key, value)
    return info, io.BytesIO(text.encode())


def archive(*members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for info, data in members:
            tar.addfile(info, data)
    return buffer.getvalue()


def tune(server, code, channels=(), program="train.py"):
    """Tune with one trial and return its description once it has ended."""
    name = f"sec-{uuid.uuid4().hex[:8]}"
    definition = {
        "StaticHyperParameters": {
            "sagemaker_program": program,
            "sagemaker_submit_directory": server.put(f"{name}/sourcedir.tar.gz", code),
        },
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File", "MetricDefinitions": LOSS},
        "RoleArn": server.info.role_arn,
        "OutputDataConfig": {"S3OutputPath": f"s3://{server.info.bucket}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }
    if channels:
        definition["InputDataConfig"] = list(channels)
    server.sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1},
            "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1"}]},
        },
        TrainingJobDefinition=definition,
    )

    def ended():
        found = server.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        return [
            job for job in found["TrainingJobSummaries"] if job["TrainingJobStatus"] not in ("InProgress", "Stopping")
        ]

    [job] = wait_for(ended, timeout=40)
    return server.sagemaker.describe_training_job(TrainingJobName=job["TrainingJobName"])


def test_the_harmless_archive_of_these_tests_trains(local_server):
    assert tune(local_server, archive(member("train.py", HARMLESS)))["TrainingJobStatus"] == "Completed"


HOSTILE = {
    "up": lambda outside: [member("../../../../escaped.txt", "x")],
    "absolute": lambda outside: [member(str(outside / "escaped.txt"), "x")],
    "symlink": lambda outside: [member("link", type=tarfile.SYMTYPE, linkname=str(outside))],
    "through a symlink": lambda outside: [
        member("link", type=tarfile.SYMTYPE, linkname=str(outside)),
        member("link/escaped.txt", "x"),
    ],
    "symlink upwards": lambda outside: [member("link", type=tarfile.SYMTYPE, linkname="../../../../..")],
    "hard link": lambda outside: [member("link", type=tarfile.LNKTYPE, linkname=str(outside / "secret.txt"))],
    "character device": lambda outside: [member("device", type=tarfile.CHRTYPE, devmajor=1, devminor=3)],
    "block device": lambda outside: [member("device", type=tarfile.BLKTYPE, devmajor=8, devminor=0)],
    "fifo": lambda outside: [member("pipe", type=tarfile.FIFOTYPE)],
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_an_archive_that_reaches_out_of_its_folder_is_refused(local_server, tmp_path, kind):
    (tmp_path / "secret.txt").write_text("secret")
    root = resolve_state_dir(local_server.info.state_dir).root
    job = tune(local_server, archive(member("train.py", HARMLESS), *HOSTILE[kind](tmp_path)))
    assert job["TrainingJobStatus"] == "Failed"
    assert "Traceback" not in job["FailureReason"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret.txt"]
    assert (tmp_path / "secret.txt").stat().st_nlink == 1
    assert not list(root.rglob("escaped.txt"))
    for path in root.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # of jobs that are tidied up meanwhile
            kind_of = path.lstat().st_mode
            assert stat.S_ISREG(kind_of) or stat.S_ISDIR(kind_of) or stat.S_ISSOCK(kind_of) or stat.S_ISLNK(kind_of)


@pytest.mark.parametrize("key", ["../../../../escaped.txt", "a/../../../../../escaped.txt", "/escaped.txt"])
def test_an_object_whose_key_climbs_lands_in_the_channel_or_nowhere(local_server, key):
    prefix = f"climb-{uuid.uuid4().hex[:8]}"
    local_server.put(f"{prefix}/{key}", b"x")
    uri = f"s3://{local_server.info.bucket}/{prefix}/"
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}
    job = tune(local_server, archive(member("train.py", HARMLESS)), [{"ChannelName": "train", "DataSource": source}])
    assert job["TrainingJobStatus"] in ("Completed", "Failed")
    root = resolve_state_dir(local_server.info.state_dir).root
    for found in root.rglob("escaped.txt"):
        assert root / "jobs" / job["TrainingJobName"] in found.parents
        assert "train" in found.parts
    assert not (root.parent / "escaped.txt").exists()


@pytest.mark.parametrize("program", ["../train.py", "/etc/passwd", "-c", "a;b.py"])
def test_a_program_outside_of_the_code_does_not_run(local_server, program):
    job = tune(local_server, archive(member("train.py", HARMLESS)), program=program)
    assert job["TrainingJobStatus"] == "Failed"


def test_nobody_else_can_read_the_state(local_server):
    root = resolve_state_dir(local_server.info.state_dir).root
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    for name in ("s3", "jobs", "tmp"):
        assert stat.S_IMODE((root / name).stat().st_mode) == 0o700
    for name in ("server.json", "keys.json"):
        assert stat.S_IMODE((root / name).stat().st_mode) == 0o600


def test_neither_log_nor_descriptions_repeat_the_secret_key(local_server):
    root = resolve_state_dir(local_server.info.state_dir).root
    code = archive(member("train.py", "import os\nprint('loss=1')\nassert os.environ['AWS_SECRET_ACCESS_KEY']"))
    job = tune(local_server, code)
    assert job["TrainingJobStatus"] == "Completed"
    assert local_server.info.secret_access_key not in repr(job)
    assert local_server.info.secret_access_key not in (root / "server.log").read_text()
