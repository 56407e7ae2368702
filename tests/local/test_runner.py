"""One real training job: script mode, inputs, outputs, statuses, metrics, failures."""

import gzip
import io
import itertools
import json
import tarfile
import time
from contextlib import closing

import pytest
from _training import IDENTITY, Bench, names_in, tar_of, wait_for

from sm_tuning.executor.algorithms import algorithm_for
from sm_tuning.local.runner import RunnerSettings

pytestmark = pytest.mark.usefixtures("processes")

HAPPY = """
import argparse, json, os, sys
parser = argparse.ArgumentParser()
for name in ("--lr", "--flag", "--layers", "--opt", "--words", "-k"):
    parser.add_argument(name)
args = parser.parse_args()
print("ARGS\\t" + json.dumps(vars(args), sort_keys=True))
print("ARGV", json.dumps(sys.argv[1:]))
print("ENV", json.dumps({k: v for k, v in os.environ.items()}))
print("CWD", os.getcwd())
for epoch in range(3):
    print(f"epoch {epoch} loss={1.0 / (epoch + 1)}")
print("on stderr", file=sys.stderr)
with open(os.path.join(os.environ["SM_MODEL_DIR"], "model.txt"), "w") as f:
    f.write(open(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "a", "data.csv")).read())
with open(os.path.join(os.environ["SM_OUTPUT_DATA_DIR"], "report.txt"), "w") as f:
    f.write("report")
"""


@pytest.fixture
def bench(processes, tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def happy(bench):
    uri = bench.put("1,2\n", f"data/{bench.state.name}/train/a/data.csv").removesuffix("a/data.csv")
    channel = {
        "ChannelName": "train",
        "ContentType": "text/csv",
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}},
    }
    return bench.train(
        HAPPY,
        hyperparameters={
            "lr": "0.1",
            "flag": "true",
            "layers": "[1, 2]",
            "opt": '"adam"',
            "words": '{"b": 2, "a": 1}',
            "k": "plain text",
        },
        InputDataConfig=[channel],
        Environment={"MINE": "yes"},
    )


def said(bench, doc, word):
    return next(m for m in bench.messages(doc["TrainingJobName"]) if m.startswith(word)).removeprefix(word).strip()


def test_a_script_gets_its_hyperparameters_as_the_toolkit_gives_them(bench, happy):
    assert happy["TrainingJobStatus"] == "Completed", happy.get("FailureReason")
    assert json.loads(said(bench, happy, "ARGV")) == [
        *("--flag", "True", "-k", "plain text", "--layers", "[1, 2]", "--lr", "0.1"),
        *("--opt", "adam", "--words", "a=1,b=2"),
    ]


def test_a_script_sees_the_environment_of_the_container_contract(bench, happy):
    env = json.loads(said(bench, happy, "ENV"))
    root = str(bench.state / "jobs" / happy["TrainingJobName"] / "algo-1")
    assert env["SAGEMAKER_BASE_DIR"] == root
    assert env["SM_MODEL_DIR"] == f"{root}/model"
    assert env["SM_CHANNEL_TRAIN"] == f"{root}/input/data/train"
    assert json.loads(env["SM_CHANNELS"]) == ["train"]
    assert env["SM_HP_LR"] == "0.1"
    assert env["SM_HP_OPT"] == "adam"
    assert json.loads(env["SM_HPS"])["words"] == {"a": 1, "b": 2}
    assert json.loads(env["SM_HOSTS"]) == ["algo-1"]
    assert json.loads(env["SM_TRAINING_ENV"])["hps"]["layers"] == [1, 2]
    assert int(env["SM_NUM_CPUS"]) >= 1
    assert int(env["OMP_NUM_THREADS"]) >= 1
    assert env["TRAINING_JOB_ARN"] == happy["TrainingJobArn"]
    assert env["MINE"] == "yes"
    assert "SM_HP__TUNING_OBJECTIVE_METRIC" not in env
    assert said(bench, happy, "CWD") == f"{root}/code"


def test_config_files_are_those_of_the_container_contract(bench, happy):
    config = bench.state / "jobs" / happy["TrainingJobName"] / "algo-1" / "input" / "config"
    assert json.loads((config / "hyperparameters.json").read_text()) == happy["HyperParameters"]
    assert json.loads((config / "inputdataconfig.json").read_text()) == {
        "train": {
            "ContentType": "text/csv",
            "TrainingInputMode": "File",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
        }
    }
    resources = json.loads((config / "resourceconfig.json").read_text())
    assert resources["current_host"] == "algo-1"
    assert resources["current_instance_type"] == "ml.m5.large"


def test_status_times_and_transitions_tell_the_life_of_the_job(happy):
    transitions = happy["SecondaryStatusTransitions"]
    assert [t["Status"] for t in transitions] == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert all(a["EndTime"] == b["StartTime"] for a, b in itertools.pairwise(transitions))
    assert transitions[-1]["StatusMessage"] == "Training job completed"
    assert happy["TrainingStartTime"] == transitions[1]["StartTime"]
    assert happy["TrainingEndTime"] == transitions[-1]["StartTime"]
    assert happy["BillableTimeInSeconds"] == happy["TrainingTimeInSeconds"] >= 0


def test_metrics_reach_document_store_and_cloudwatch(bench, happy):
    name = happy["TrainingJobName"]
    assert [(e.step, e.value) for e in bench.store.emissions(name, "loss")] == [(0, 1.0), (1, 0.5), (2, 1.0 / 3)]
    assert happy["FinalMetricDataList"][0]["Value"] == 0.3333333432674408
    assert happy["_ObjectiveStatus"] == "Succeeded"
    assert happy["_ObjectiveValue"] == 1.0 / 3
    data = bench.aws.metric_store.values("loss", {"TrainingJobName": name}, 0, float("inf"))
    assert sorted(value for _, value in data) == [1.0 / 3, 0.5, 1.0]


def test_log_lines_carry_tabs_as_the_service_shows_them(bench, happy):
    messages = bench.messages(happy["TrainingJobName"])
    assert any(m.startswith("ARGS#011{") for m in messages)
    assert "on stderr" in messages


def test_model_and_output_are_uploaded_under_the_services_keys(bench, happy):
    base = f"s3://{IDENTITY.bucket}/out/{happy['TrainingJobName']}/output"
    assert happy["ModelArtifacts"] == {"S3ModelArtifacts": f"{base}/model.tar.gz"}
    assert names_in(bench.fetch(f"{base}/model.tar.gz")) == {"model.txt": b"1,2\n"}
    assert names_in(bench.fetch(f"{base}/output.tar.gz")) == {"report.txt": b"report"}


def test_logs_and_metrics_outlive_the_server(bench, happy):
    name = happy["TrainingJobName"]
    before = bench.log_events(name)
    again = Bench(bench.state)
    assert again.log_events(name) == before
    assert len(again.aws.metric_store.values("loss", {"TrainingJobName": name}, 0, float("inf"))) == 3
    again.close()


def test_same_model_gives_the_same_bytes(bench):
    source = "import os; open(os.environ['SM_MODEL_DIR'] + '/m', 'w').write('model')"
    first, second = (bench.train(source)["ModelArtifacts"]["S3ModelArtifacts"] for _ in range(2))
    assert bench.fetch(first) == bench.fetch(second)


@pytest.mark.parametrize(
    ("members", "notes"),
    [
        ({"DebugHookConfig": {"S3OutputPath": "s3://b/d"}}, 1),
        ({"ProfilerConfig": {"S3OutputPath": "s3://b/d"}}, 1),
        ({"ProfilerConfig": {"DisableProfiler": True}}, 0),
        ({}, 0),
    ],
)
def test_a_log_line_says_that_nothing_is_collected_for_debugger_and_profiler(bench, members, notes):
    name = bench.train("print('loss=1')", **members)["TrainingJobName"]
    line = "sm_tuning: DebugHookConfig and ProfilerConfig have no effect here: nothing is collected"
    assert bench.messages(name).count(line) == notes


def test_uncompressed_output_goes_up_file_by_file(bench):
    source = "import os; open(os.environ['SM_MODEL_DIR'] + '/m', 'w').write('model')"
    output = {"S3OutputPath": f"s3://{IDENTITY.bucket}/out", "CompressionType": "NONE"}
    doc = bench.train(source, OutputDataConfig=output)
    assert bench.fetch(doc["ModelArtifacts"]["S3ModelArtifacts"] + "m") == b"model"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise ValueError('too\\tbad')", r'ExitCode 1\nErrorMessage "ValueError: too'),
        ("import sys; sys.exit('no data at all')", 'ExitCode 1\nErrorMessage "no data at all"\nCommand "'),
        ("import sys; sys.exit(3)", 'ExecuteUserScriptError:\nExitCode 3\nErrorMessage ""\nCommand "'),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ExitCode -9\n"),
    ],
)
def test_a_script_that_fails_says_why(bench, source, reason):
    doc = bench.train(source)
    assert doc["TrainingJobStatus"] == "Failed"
    assert doc["FailureReason"].startswith("AlgorithmError: ExecuteUserScriptError:\n")
    assert reason.replace("\\n", "\n") in doc["FailureReason"]
    assert len(doc["FailureReason"]) <= 1024
    assert doc["_ObjectiveStatus"] == "Failed"
    assert "ModelArtifacts" not in doc


def test_the_failure_file_becomes_the_failure_reason_up_to_1024_characters(bench):
    source = """
import os, sys
open(os.environ["SM_OUTPUT_DIR"] + "/failure", "w").write("my own words " + "x" * 5000)
sys.exit(7)
"""
    reason = bench.train(source)["FailureReason"]
    assert reason.startswith("AlgorithmError: my own words xxx")
    assert reason.endswith("x, exit code: 1")  # of the toolkit, whatever the script's was
    assert len(reason) == 1024


@pytest.mark.parametrize(
    ("printed", "values"),
    [
        ("loss=1e-05", [1e-05]),
        ("loss=12.5 loss=13", [12.5]),
        ("loss=nan", []),
        ("loss=inf", []),
        ("loss=1e300", []),
        ("nothing", []),
        ("loss=abc", []),
    ],
)
def test_only_finite_numbers_are_metric_values_and_every_line_is_kept(bench, printed, values):
    doc = bench.train(f"print({printed!r})")
    name = doc["TrainingJobName"]
    assert doc["TrainingJobStatus"] == "Completed"
    assert [e.value for e in bench.store.emissions(name)] == values
    assert bench.messages(name) == [printed]
    assert doc["_ObjectiveStatus"] == ("Succeeded" if values else "Failed")


def test_a_regex_that_never_ends_costs_its_metric_and_nothing_else(bench):
    definition = bench.definition(bench.code({"train.py": "print('a' * 60 + '!'); print('loss=2')"}))
    definition["AlgorithmSpecification"] = {
        **definition["AlgorithmSpecification"],
        "MetricDefinitions": [
            {"Name": "evil", "Regex": "^(a+)+$"},
            {"Name": "loss", "Regex": "loss=(.*)"},
        ],
    }
    name = bench.create_training_job(definition)
    bench.runner.start(name)
    doc = bench.ended(name)
    assert doc["TrainingJobStatus"] == "Completed"
    assert [(e.metric, e.value) for e in bench.store.emissions(name)] == [("loss", 2.0)]
    assert any("'evil'" in m and "took longer" in m for m in bench.messages(name))


def test_a_shell_script_is_run_by_sh(bench):
    code = bench.code({"run.sh": 'echo "got $1 $2 in $(pwd)"\necho loss=$2\n'})
    name = bench.create_training_job(bench.definition(code, program="run.sh", hyperparameters={"x": "a b"}))
    bench.runner.start(name)
    assert bench.ended(name)["TrainingJobStatus"] == "Completed"
    assert bench.messages(name)[0].startswith("got -x a b in ")


def test_json_quoted_toolkit_keys_are_read_like_plain_ones(bench):
    code = bench.code({"src/train.py": "print('ran')"})
    name = bench.create_training_job(bench.definition(json.dumps(code), program=json.dumps("src/train.py")))
    bench.runner.start(name)
    assert bench.ended(name)["TrainingJobStatus"] == "Completed"
    assert bench.messages(name) == ["ran"]


@pytest.mark.parametrize("member", ["../evil.py", "/tmp/evil.py"])
def test_a_tar_member_outside_its_folder_is_refused(bench, member):
    code = bench.put(tar_of({"train.py": "", member: "x"}), f"code/{bench.state.name}.tar.gz")
    name = bench.create_training_job(bench.definition(code))
    bench.runner.start(name)
    doc = bench.ended(name)
    assert doc["TrainingJobStatus"] == "Failed"
    assert doc["FailureReason"].startswith("ClientError: ")
    assert member in doc["FailureReason"]
    assert not (bench.state / "jobs" / name / "algo-1" / "evil.py").exists()


def test_a_link_out_of_the_code_folder_is_refused(bench):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        link = tarfile.TarInfo("train.py")
        link.type, link.linkname = tarfile.SYMTYPE, "../../../../../etc/passwd"
        tar.addfile(link)
    code = bench.put(buffer.getvalue(), f"code/{bench.state.name}.tar.gz")
    name = bench.create_training_job(bench.definition(code))
    bench.runner.start(name)
    assert bench.ended(name)["FailureReason"].startswith("ClientError: ")
    assert not (bench.state / "jobs" / name / "algo-1" / "code" / "train.py").is_symlink()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 99}}, "99 hosts"),
        ({"OutputDataConfig": {"S3OutputPath": "s3://no-such-bucket/x"}}, "no-such-bucket"),
        ({"hyperparameters": {"sagemaker_mpi_enabled": "true"}}, "sagemaker_mpi_enabled"),
        ({"program": "train.R"}, "not in"),
        ({"CheckpointConfig": {"S3Uri": "s3://b/c", "LocalPath": "/elsewhere"}}, "/elsewhere"),
        ({"OutputDataConfig": {"S3OutputPath": "https://b/c"}}, "s3://"),
        ({"hyperparameters": {"text": "a\0b"}}, "the hyperparameter 'text' contains a NUL character"),
        ({"hyperparameters": {"text": json.dumps({"key": "a\0b"})}}, "'text' contains a NUL character"),
        ({"hyperparameters": {"a\0b": "1"}}, r"'a\x00b' contains a NUL character"),
        ({"hyperparameters": {"a=b": "1"}}, "the hyperparameter 'a=b' cannot be an environment variable"),
        ({"Environment": {"TEXT": "a\0b"}}, "the environment variable 'TEXT' contains a NUL character"),
    ],
)
def test_what_this_machine_cannot_do_is_a_clear_failure(bench, change, words):
    doc = bench.train("print('loss=1')", **change)
    assert doc["TrainingJobStatus"] == "Failed"
    assert doc["FailureReason"].startswith("ClientError: ")
    assert words in doc["FailureReason"]


def channel_of(name, uri, kind="S3Prefix", **members):
    return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": kind, "S3Uri": uri}}, **members}


def test_channels_are_filled_as_the_service_fills_them(bench):
    base = f"in/{bench.state.name}"
    one = bench.put("one", f"{base}/d/one.csv")
    bench.put("two", f"{base}/d/sub/two.csv")
    bench.put("part", f"{base}/e-part")
    bench.put(gzip.compress(b"plain"), f"{base}/z/data.csv.gz")
    root = f"s3://{IDENTITY.bucket}/{base}"
    manifest = bench.put(json.dumps([{"prefix": f"{root}/d/"}, "sub/two.csv"]), f"{base}/list.manifest")
    doc = bench.train(
        "",
        InputDataConfig=[
            channel_of("file", one),
            channel_of("folder", f"{root}/d"),
            channel_of("names", f"{root}/e-"),
            channel_of("packed", f"{root}/z/", CompressionType="Gzip"),
            channel_of("listed", manifest, "ManifestFile"),
        ],
    )
    assert doc["TrainingJobStatus"] == "Completed", doc
    data = bench.state / "jobs" / doc["TrainingJobName"] / "algo-1" / "input" / "data"
    found = {p.relative_to(data).as_posix(): p.read_text() for p in data.rglob("*") if p.is_file()}
    assert found == {
        "file/one.csv": "one",
        "folder/one.csv": "one",
        "folder/sub/two.csv": "two",
        "names/e-part": "part",
        "packed/data.csv": "plain",
        "listed/sub/two.csv": "two",
    }


def test_a_missing_input_is_a_clear_failure(bench):
    doc = bench.train("", InputDataConfig=[channel_of("train", f"s3://{IDENTITY.bucket}/nothing/here")])
    assert "no S3 objects found under S3 URL" in doc["FailureReason"]


def test_an_object_key_cannot_leave_its_channel(bench):
    bench.put("x", f"in/{bench.state.name}/a/../../../evil")
    uri = f"s3://{IDENTITY.bucket}/in/{bench.state.name}/"
    doc = bench.train("", InputDataConfig=[channel_of("train", uri)])
    assert "outside its channel" in doc["FailureReason"]


def test_checkpoints_are_restored_and_kept(bench):
    base = f"s3://{IDENTITY.bucket}/check/{bench.state.name}"
    bench.put("4", f"check/{bench.state.name}/deep/epoch")
    source = """
import os
path = os.path.join(os.environ["SAGEMAKER_BASE_DIR"], "checkpoints", "deep", "epoch")
epoch = int(open(path).read())
open(path, "w").write(str(epoch + 1) + " now")
"""
    doc = bench.train(source, CheckpointConfig={"S3Uri": base})
    assert doc["TrainingJobStatus"] == "Completed", doc
    assert bench.fetch(f"{base}/deep/epoch") == b"5 now"


def test_a_job_takes_no_disk_once_it_has_ended(tmp_path):
    bench = Bench(tmp_path, RunnerSettings(grace=0.5))
    name = bench.train("print('loss=1')")["TrainingJobName"]
    wait_for(lambda: not (tmp_path / "jobs" / name).exists())
    assert bench.messages(name) == ["loss=1"]
    failed = bench.train("raise SystemExit(1)")["TrainingJobName"]
    wait_for(lambda: not (tmp_path / "jobs" / failed / "algo-1" / "input" / "data").exists())
    assert (tmp_path / "jobs" / failed / "algo-1" / "code" / "train.py").is_file()
    assert not (tmp_path / "jobs" / failed / "log").exists()
    bench.close()


def test_folders_of_ended_jobs_that_a_killed_server_left_are_deleted_at_the_next_start(tmp_path):
    bench = Bench(tmp_path, RunnerSettings(grace=0.5))
    name = bench.train("print('loss=1')")["TrainingJobName"]
    left = tmp_path / "jobs" / name / "algo-1"
    wait_for(lambda: not left.exists())
    left.mkdir(parents=True)
    bench.runner.recover()
    assert not left.parent.exists()
    bench.close()


def test_without_a_checkpoint_config_there_is_no_checkpoint_folder(bench):
    source = "import os; print(os.path.exists(os.environ['SAGEMAKER_BASE_DIR'] + '/checkpoints'))"
    assert bench.messages(bench.train(source)["TrainingJobName"]) == ["False"]


def test_the_built_in_xgboost_trains_prints_its_metrics_and_leaves_a_model(bench):
    rows = "".join(f"{i % 2},{i % 2 + 0.1 * (i % 3)},{i % 5}\n" for i in range(60))
    channels = [
        channel_of(name, bench.put(rows, f"in/{bench.state.name}/{name}.csv"), ContentType="text/csv")
        for name in ("train", "validation")
    ]
    image = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
    algorithm = algorithm_for(image)
    definition = bench.definition("", InputDataConfig=channels)
    definition["StaticHyperParameters"] = {"objective": "reg:squarederror", "num_round": "5"}
    definition["AlgorithmSpecification"] = {
        "TrainingImage": image,
        "TrainingInputMode": "File",
        "MetricDefinitions": list(algorithm.metric_definitions),
    }
    name = bench.create_training_job(definition, objective="validation:rmse")
    bench.runner.start(name)
    doc = bench.ended(name, timeout=60)
    assert doc["TrainingJobStatus"] == "Completed", doc.get("FailureReason")
    curve = [e.value for e in bench.store.emissions(name, "validation:rmse")]
    assert len(curve) == 5
    assert curve == sorted(curve, reverse=True)
    assert doc["_ObjectiveValue"] == curve[-1]
    assert "xgboost-model" in names_in(bench.fetch(doc["ModelArtifacts"]["S3ModelArtifacts"]))


def test_a_built_in_algorithm_that_fails_says_why_in_its_own_words(bench):
    definition = bench.definition("")
    definition["StaticHyperParameters"] = {"num_round": "none"}
    definition["AlgorithmSpecification"] = {
        "TrainingImage": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1",
        "TrainingInputMode": "File",
    }
    name = bench.create_training_job(definition)
    bench.runner.start(name)
    reason = bench.ended(name, timeout=60)["FailureReason"]
    assert reason.startswith("AlgorithmError: ")
    assert "num_round" in reason
    assert reason.endswith(", exit code: 1")


def test_a_job_that_may_wait_for_capacity_does_not_have_to(bench):
    condition = {"MaxRuntimeInSeconds": 60, "MaxPendingTimeInSeconds": 7200}
    doc = bench.train("print('loss=1')", StoppingCondition=condition)
    assert doc["TrainingJobStatus"] == "Completed"
    assert doc["StoppingCondition"] == condition


def test_the_running_time_of_a_job_spans_the_attempts_that_its_retry_strategy_gives(tmp_path):
    source = """
import os, signal, time
os.kill(os.getppid(), signal.SIGKILL)
time.sleep(300)
"""
    ahead = 0.0
    with closing(Bench(tmp_path / "clock", monotonic=lambda: time.monotonic() + ahead)) as bench:
        condition, retry = {"MaxRuntimeInSeconds": 60}, {"MaximumRetryAttempts": 30}
        definition = bench.definition(
            bench.code({"train.py": source}), StoppingCondition=condition, RetryStrategy=retry
        )
        name = bench.create_training_job(definition)
        bench.runner.start(name)

        def statuses():
            return [one["Status"] for one in bench.store.training_job(name).get("SecondaryStatusTransitions", ())]

        wait_for(lambda: statuses().count("Starting") > 1)
        ahead = 60.0
        doc = bench.ended(name)
    assert doc["SecondaryStatus"] == "MaxRuntimeExceeded"


def test_a_retry_strategy_does_not_retry_what_the_script_does_wrong(bench):
    doc = bench.train("raise ValueError", RetryStrategy={"MaximumRetryAttempts": 3})
    assert doc["TrainingJobStatus"] == "Failed"
    assert [t["Status"] for t in doc["SecondaryStatusTransitions"]].count("Starting") == 1
