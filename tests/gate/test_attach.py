"""A launch that is tried again, and the facts of a gate, against a local SageMaker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

import sm_tuning as smt
from sm_tuning.cli._jobs import summary
from sm_tuning.gate import Requirement, facts, judge, markdown
from sm_tuning.jobs import SPEC_HASH_TAG

SCRIPT = """\
import argparse, os, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--user-token")
args, _ = parser.parse_known_args()
print(f"score={args.lr};", flush=True)
print("loss=0.25;", flush=True)
pathlib.Path(os.environ["SM_MODEL_DIR"], "m").write_text("m")
"""


def tuning(folder: Path, text: str = SCRIPT, **changes: Any) -> smt.Tuning:
    (folder / "train.py").write_text(text)
    estimator = smt.PyTorchEstimator(
        framework_version="2.6",
        py_version="py312",
        entry_point=str(folder / "train.py"),
        instance_type="ml.m5.large",
        max_run=600,
        metric_definitions={"score": "score=([0-9.]+);", "loss": "loss=([0-9.]+);"},
        tags={"team": "a"},
    )
    ranges = {
        "lr": smt.ContinuousParameter(0.1, 0.5),
        "user-token": smt.CategoricalParameter(["first-token-value", "second-token-value"]),
    }
    fields = {"max_jobs": 1, "strategy": "Random", "random_seed": 1, **changes}
    return smt.Tuning(estimator=estimator, objective_metric_name="score", hyperparameter_ranges=ranges, **fields)


@pytest.fixture(scope="module")
def job(near: smt.Aws, tmp_path_factory: pytest.TempPathFactory) -> smt.TuningJob:
    folder = tmp_path_factory.mktemp("script")
    made = smt.launch(tuning(folder), name="Once", if_exists="attach", aws=near)
    made.wait(progress=False)
    return made


def test_the_same_spec_under_the_same_name_is_the_same_job(job, near, tmp_path) -> None:
    again = smt.launch(tuning(tmp_path), name="once", if_exists="attach", aws=near)
    assert again.name == "Once"
    assert again.arn == job.arn
    assert len(smt.list_jobs(name_contains="nce", aws=near)) == 1


@pytest.mark.parametrize("change", [{"max_jobs": 2}, {"text": SCRIPT + "\n"}], ids=["spec", "script"])
def test_another_spec_or_script_under_the_same_name_is_an_error(job, near, tmp_path, change) -> None:
    with pytest.raises(smt.SpecError, match="another spec made it"):
        smt.launch(tuning(tmp_path, **change), name="Once", if_exists="attach", aws=near)


def test_without_attach_the_name_is_taken(job, near, tmp_path) -> None:
    with pytest.raises(smt.NameTakenError):
        smt.launch(tuning(tmp_path), name="Once", aws=near)


def test_a_job_that_does_not_say_what_made_it_is_not_attached_to(job, near, tmp_path) -> None:
    made = smt.launch(tuning(tmp_path), aws=near)
    with pytest.raises(smt.SpecError, match=f"has no tag {SPEC_HASH_TAG}"):
        smt.launch(tuning(tmp_path), name=made.name, if_exists="attach", aws=near)
    made.wait(progress=False)


def test_the_tag_is_no_part_of_the_spec_that_is_read_back(job) -> None:
    spec = job.spec()
    assert dict(spec.estimator.tags) == {"team": "a"}


def test_a_tuned_secret_is_masked_in_status_and_summary(job, near) -> None:
    assert "token-value" in str(job.best.hyperparameters)
    shown = summary(near, job.describe())
    assert shown["best"]["hyperparameters"]["user-token"] == "****"
    assert "token-value" not in str(shown)
    assert "token-value" not in markdown(judge(facts(near, "Once")))


def test_the_facts_of_a_finished_job(job, near) -> None:
    wanted = ["cost", "score", "loss"]
    found = facts(near, "Once", wanted=wanted, prices={"ml.m5.large": 3600.0})
    assert (found.metric, found.maximize, found.status) == ("score", True, "Completed")
    assert found.metrics == {"score": pytest.approx(found.objective), "loss": 0.25}
    assert found.own["cost"] == pytest.approx(found.own["billable_seconds"])
    assert (found.own["trials"], found.own["completed_trials"], found.own["failed_trials"]) == (1, 1, 0)
    assert judge(found, [Requirement.parse("score>=0.1"), Requirement.parse("cost<=1000000")]).passed


def test_a_job_that_runs_cannot_be_judged_yet(near, tmp_path) -> None:
    made = smt.launch(tuning(tmp_path, "import time\ntime.sleep(600)\n"), name="runs", aws=near)
    with pytest.raises(smt.SpecError, match="wait for it first"):
        facts(near, "runs")
    made.stop()


def denied(**_: object) -> tuple[AWSResponse, dict[str, Any]]:
    """Answer a call as AWS does without the permission."""
    error = {"Code": "AccessDeniedException", "Message": "not authorized to perform: logs:FilterLogEvents"}
    return AWSResponse("", 400, {}, None), {"Error": error, "ResponseMetadata": {"HTTPStatusCode": 400}}


#: Emits some values, and then waits to be stopped.
WAITS = """\
import time
for epoch in range({values}):
    print("score=0.5;", flush=True)
time.sleep(600)
"""


def test_trials_that_hyperband_stopped_at_their_maximum_count_as_completed(near, tmp_path) -> None:
    config = smt.HyperbandConfig(max_resource=3)
    spec = tuning(tmp_path, WAITS.format(values=3), strategy="Hyperband", strategy_config=config)
    job = smt.launch(spec, aws=near)
    job.wait(progress=False)
    assert job.trials()["TrainingJobStatus"].tolist() == ["Stopped"]
    found = facts(near, job.name, wanted=["completed_trials"])
    assert (found.own["completed_trials"], found.own["stopped_trials"]) == (1, 0)
    verdict = judge(found, [Requirement.parse("completed_trials>=1"), Requirement.parse("stopped_trials<=0")])
    assert verdict.passed
    assert "1 of them were stopped at the maximum resource" in markdown(verdict)
    # Logs are read for requirements that need them only.
    assert facts(near, job.name, wanted=["objective"]).own["stopped_trials"] == 1

    near._client("logs").meta.events.register("before-call.cloudwatch-logs", denied, unique_id="denied")
    try:
        found = facts(near, job.name, wanted=["completed_trials"])
    finally:
        near._client("logs").meta.events.unregister("before-call.cloudwatch-logs", unique_id="denied")
    assert (found.own["completed_trials"], found.own["stopped_trials"]) == (0, 1)
    (_, check) = judge(found, [Requirement.parse("completed_trials>=1")]).checks
    assert "are not counted, since" in check.note


def test_a_trial_that_was_stopped_before_its_maximum_is_not_complete(near, tmp_path) -> None:
    config = smt.HyperbandConfig(max_resource=3)
    spec = tuning(tmp_path, WAITS.format(values=2), strategy="Hyperband", strategy_config=config)
    job = smt.launch(spec, aws=near)
    next(line for line in job.follow_logs() if "score" in line.message)
    job.stop()
    with pytest.raises(smt.JobStoppedError):
        job.wait(progress=False)
    found = facts(near, job.name, wanted=["completed_trials"])
    assert (found.own["completed_trials"], found.own["stopped_trials"]) == (0, 1)
    assert not judge(found, [Requirement.parse("completed_trials>=1")], allow_stopped=True).passed


def test_a_cost_without_prices_says_what_is_missing(job, near) -> None:
    verdict = judge(facts(near, job.name, wanted=["cost"]), [Requirement.parse("cost<=20")])
    (check,) = [check for check in verdict.checks if check.requirement == "cost <= 20"]
    assert (check.passed, check.value) == (False, "unknown")
    assert "no price of ml.m5.large (a server on this machine has no prices)" in check.note
    assert '{"ml.m5.large": 0.1}' in check.note
    assert "--prices FILE" in check.note
