"""The dataset of all tuning jobs: what a sync reads, what it writes, and what is left when something goes wrong."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pytest
from fleet_service import START, Account
from hypothesis import given
from hypothesis import strategies as st

import sm_tuning as smt
from sm_tuning.aws import Aws
from sm_tuning.fleet import TABLES, read_fleet
from sm_tuning.fleet._arrow import changed, schema_of, table_of
from sm_tuning.fleet._state import Entry, State
from sm_tuning.results import IncompleteWarning

PRICES = {"ml.m5.xlarge": 0.25, "ml.g5.xlarge": 1.5}
APRIL = datetime(2025, 4, 2, 8, tzinfo=UTC)


def synced(aws: Aws, dest: Any, **options: Any) -> smt.Synced:
    return smt.sync(dest, aws=aws, prices=PRICES, progress=False, **options)


def rows(dest: Path, table: str) -> list[dict[str, Any]]:
    return pa.dataset.dataset(dest / table, format="parquet").to_table().to_pylist()


def names(dest: Path) -> list[str]:
    return sorted(row["TuningJobName"] for row in rows(dest, "jobs"))


@pytest.fixture
def bucket(aws: Aws) -> str:
    name = f"fleet-{uuid.uuid4().hex[:12]}"
    aws.call("s3", "create_bucket", Bucket=name)
    return f"s3://{name}/tuning"


def test_jobs_and_trials_are_rows_of_documented_types_by_month(account: Account, aws: Aws, tmp_path: Path) -> None:
    account.add("first", [0.5, None, 0.25], tags={"team": "red"})
    account.add("second", [0.75], created=APRIL, instance="ml.g5.xlarge")
    done = synced(aws, tmp_path)
    assert (done.jobs, done.trials, done.known, done.running, done.incomplete, done.deleted) == (2, 4, 2, (), (), ())
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.parquet"))
    assert files == [f"{t}/month=2025-{m}/{t}.parquet" for t in ("jobs", "trials") for m in ("03", "04")]
    for table in ("jobs", "trials"):
        found = pa.parquet.read_schema(tmp_path / f"{table}/month=2025-03/{table}.parquet")
        assert found.names == list(TABLES[table])
        assert found.types == schema_of(table).types
    job = next(row for row in rows(tmp_path, "jobs") if row["TuningJobName"] == "first")
    assert job["JobId"] == "123456789012/us-east-1/first/2025-03-10T09:00:00Z"
    assert dict(job["Tags"]) == {"team": "red"}
    assert dict(job["Inputs"]) == {"train": "s3://data/train"}
    assert (job["Trials"], job["BestObjectiveValue"], job["Cost"], job["IsFinal"]) == (3, 0.25, 0.75, True)
    assert job["TuningJobEndTime"] == START + timedelta(hours=3)
    best = next(row for row in rows(tmp_path, "trials") if row["IsBest"] and row["TuningJobName"] == "first")
    assert dict(best["Hyperparameters"]) == {"eta": "0.3", "booster": "dart"}
    assert dict(best["FinalMetrics"]) == {"validation:rmse": 0.25, "train:rmse": 0.25}
    assert (best["InstanceType"], best["PricePerHour"], best["Cost"]) == ("ml.m5.xlarge", 0.25, 0.25)


def test_secrets_are_masked_in_all_tables(account: Account, aws: Aws, tmp_path: Path) -> None:
    account.add("job", [0.5, None], tags={"access_token": "t0k3n-value"})
    account.trials["job"][1]["_summary"]["FailureReason"] = "ran train.py --api_key s3cr3t-value"
    synced(aws, tmp_path)
    text = str([*rows(tmp_path, "jobs"), *rows(tmp_path, "trials")])
    assert "s3cr3t" not in text
    assert "t0k3n" not in text
    assert text.count("****") == 3


def test_a_second_sync_takes_four_calls_however_many_jobs_there_are(account: Account, aws: Aws, bucket: str) -> None:
    account.page_size = 15
    for number in range(30):
        account.add(f"job-{number:03d}", [0.5], created=START + timedelta(hours=number))
    assert synced(aws, bucket).jobs == 30
    # Two pages each of the list and of Search for tuning jobs; then the trials of each job, and their details.
    assert account.calls["ListHyperParameterTuningJobs"] == 2
    assert account.calls["ListTrainingJobsForHyperParameterTuningJob"] == 30
    assert account.calls["Search"] == 2 + 30
    assert account.calls["DescribeHyperParameterTuningJob"] == account.calls["ListTags"] == 0
    account.calls.clear()
    done = synced(aws, bucket)
    assert (done.jobs, done.known) == (0, 30)
    assert account.calls == {"GetCallerIdentity": 1, "ListHyperParameterTuningJobs": 1, "GetObject": 2}
    account.add("new", [0.5], created=START + timedelta(days=20))
    account.calls.clear()
    assert synced(aws, bucket).jobs == 1
    assert account.calls["ListTrainingJobsForHyperParameterTuningJob"] == 1
    assert account.calls["Search"] == 1


def test_jobs_that_were_running_are_read_again_and_others_are_not(account: Account, aws: Aws, tmp_path: Path) -> None:
    account.add("done", [0.5])
    account.add("runs", [0.5], status="InProgress")
    assert synced(aws, tmp_path).running == ("runs",)
    assert {row["TuningJobName"]: row["IsFinal"] for row in rows(tmp_path, "jobs")} == {"done": True, "runs": False}
    before = account.jobs["runs"]["LastModifiedTime"]
    account.add("runs", [0.5, 0.25], LastModifiedTime=before)  # the service need not touch it for each trial
    account.calls.clear()
    done = synced(aws, tmp_path)
    assert (done.jobs, done.trials, done.running) == (1, 2, ())
    assert account.calls["DescribeHyperParameterTuningJob"] == 1
    assert len(rows(tmp_path, "trials")) == 3
    assert all(row["IsFinal"] for row in rows(tmp_path, "jobs"))
    assert synced(aws, tmp_path).jobs == 0


def test_a_trial_that_has_just_ended_is_not_final_yet(account: Account, aws: Aws, tmp_path: Path) -> None:
    account.add("fresh", [0.5], created=datetime.now(UTC) - timedelta(hours=1, minutes=2))
    assert synced(aws, tmp_path).running == ("fresh",)


def test_a_warm_pool_that_is_still_billed_keeps_its_job_open(account: Account, aws: Aws, tmp_path: Path) -> None:
    account.add("job", [0.5])
    account.change_trials("job", WarmPoolStatus={"Status": "Available", "ResourceRetainedBillableTimeInSeconds": 0})
    assert synced(aws, tmp_path).running == ("job",)
    pool = {"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": 3600}
    account.change_trials("job", WarmPoolStatus=pool)
    assert synced(aws, tmp_path).running == ()
    assert rows(tmp_path, "trials")[0]["Cost"] == 0.5


def test_deleted_jobs_stay_and_a_new_job_of_that_name_is_another_row(
    account: Account, aws: Aws, tmp_path: Path
) -> None:
    account.add("done", [0.5])
    account.add("runs", [0.5], status="InProgress")
    synced(aws, tmp_path)
    account.jobs.clear()
    assert synced(aws, tmp_path).deleted == ("runs",)
    assert {row["TuningJobName"]: row["IsDeleted"] for row in rows(tmp_path, "jobs")} == {"done": False, "runs": True}
    assert len(rows(tmp_path, "trials")) == 2
    account.calls.clear()
    assert synced(aws, tmp_path).deleted == ()
    assert account.calls["DescribeHyperParameterTuningJob"] == 0
    account.add("done", [0.75, 0.5], created=START + timedelta(days=1))
    synced(aws, tmp_path)
    assert names(tmp_path) == ["done", "done", "runs"]
    assert Counter(row["JobId"][-20:] for row in rows(tmp_path, "trials")) == {
        "2025-03-10T09:00:00Z": 2,
        "2025-03-11T09:00:00Z": 2,
    }


@pytest.mark.parametrize("what", ["ListTrainingJobsForHyperParameterTuningJob", "second"])
def test_what_aws_withholds_is_not_recorded_as_complete(account: Account, aws: Aws, tmp_path: Path, what: str) -> None:
    account.add("first", [0.5])
    account.add("second", [0.5])
    account.refused[what] = ("AccessDeniedException", "not you")
    with pytest.warns(IncompleteWarning, match="could not be read completely"):
        done = synced(aws, tmp_path)
    assert set(done.incomplete) == ({"first", "second"} if what != "second" else {"second"})
    account.refused.clear()
    done = synced(aws, tmp_path)
    assert done.incomplete == ()
    assert done.jobs == (2 if what != "second" else 1)
    assert names(tmp_path) == ["first", "second"]
    assert synced(aws, tmp_path).jobs == 0


def test_without_search_jobs_and_trials_are_described_one_by_one(account: Account, aws: Aws, tmp_path: Path) -> None:
    for number in range(7):
        account.add(f"job-{number}", [0.5], tags={"n": str(number)})
    account.refused["Search"] = ("AccessDeniedException", "no search")
    assert synced(aws, tmp_path).jobs == 7
    assert account.calls["DescribeHyperParameterTuningJob"] == account.calls["ListTags"] == 7
    assert account.calls["DescribeTrainingJob"] == 7
    assert sorted(dict(row["Tags"])["n"] for row in rows(tmp_path, "jobs")) == list("0123456")


def test_a_job_that_the_index_of_search_lacks_is_described(account: Account, aws: Aws, tmp_path: Path) -> None:
    for number in range(7):
        account.add(f"job-{number}", [0.5])
    account.hide_from_search = {"job-3"}
    assert synced(aws, tmp_path).jobs == 7
    assert account.calls["DescribeHyperParameterTuningJob"] == 1


def test_since_leaves_no_gap_behind(account: Account, aws: Aws, tmp_path: Path) -> None:
    account.add("march", [0.5])
    synced(aws, tmp_path)
    account.add("april", [0.5], created=APRIL)
    account.add("may", [0.5], created=datetime(2025, 5, 1, tzinfo=UTC))
    assert synced(aws, tmp_path, since="2025-04-15").jobs == 1
    assert names(tmp_path) == ["march", "may"]
    assert synced(aws, tmp_path).jobs == 1  # what lies between the last sync and since
    assert names(tmp_path) == ["april", "march", "may"]


def test_a_first_sync_since_a_time_goes_on_from_there(account: Account, aws: Aws, tmp_path: Path) -> None:
    account.add("march", [0.5])
    assert synced(aws, tmp_path, since="2025-04-01").jobs == 0
    account.add("april", [0.5], created=APRIL)
    synced(aws, tmp_path)
    assert names(tmp_path) == ["april"]
    synced(aws, tmp_path, since="2025-01-01")
    assert names(tmp_path) == ["april", "march"]


def test_refresh_reads_unchanged_jobs_again(account: Account, aws: Aws, tmp_path: Path) -> None:
    account.add("job", [0.5])
    smt.sync(tmp_path, aws=aws, prices={}, progress=False)
    assert rows(tmp_path, "jobs")[0]["Cost"] is None
    account.jobs["job"]["_tags"] = [{"Key": "team", "Value": "blue"}]
    assert synced(aws, tmp_path).jobs == 0
    assert synced(aws, tmp_path, refresh=True).jobs == 1
    assert (rows(tmp_path, "jobs")[0]["Cost"], dict(rows(tmp_path, "jobs")[0]["Tags"])) == (0.25, {"team": "blue"})


def test_curves_come_on_request_also_later(account: Account, aws: Aws, tmp_path: Path) -> None:
    account.add("job", [0.5])
    stream = f"{account.trials['job'][0]['TrainingJobName']}/algo-1-1"
    times = [int(START.timestamp() * 1000) + 1000 * n for n in range(3)]
    account.lines = [
        {"logStreamName": stream, "timestamp": moment, "message": f"rmse={n}.5", "eventId": str(n)}
        for n, moment in enumerate(times)
    ]
    synced(aws, tmp_path)
    assert not (tmp_path / "curves").exists()
    assert synced(aws, tmp_path, curves=True).jobs == 1
    found = rows(tmp_path, "curves")
    assert [(row["MetricName"], row["Step"], row["Value"]) for row in found] == [
        ("validation:rmse", n, n + 0.5) for n in range(3)
    ]
    assert pa.parquet.read_schema(tmp_path / "curves/month=2025-03/curves.parquet").types == schema_of("curves").types
    assert synced(aws, tmp_path, curves=True).jobs == 0


@pytest.mark.parametrize("put", range(1, 8))
def test_a_sync_that_is_killed_leaves_whole_tables_and_the_next_one_goes_on(
    account: Account, aws: Aws, bucket: str, put: int
) -> None:
    account.add("first", [0.5, 0.25])
    account.add("second", [0.75], created=APRIL)
    account.dies_at_put = put
    if put <= 6:
        with pytest.raises(KeyboardInterrupt):
            synced(aws, bucket)
    else:
        synced(aws, bucket)
    account.dies_at_put = 0
    if put > 3:  # the first file of jobs is there
        fleet = read_fleet(bucket, aws)
        have = fleet.trials.groupby("JobId").size()
        assert all(have[job] == count for job, count in zip(fleet.jobs["JobId"], fleet.jobs["Trials"], strict=True))
    synced(aws, bucket)
    fleet = read_fleet(bucket, aws)
    assert fleet.jobs["TuningJobName"].tolist() == ["first", "second"]
    assert len(fleet.trials) == 3
    assert synced(aws, bucket).jobs == 0


@pytest.mark.parametrize("put", range(1, 5))
def test_two_syncs_at_once_lose_nothing_and_the_later_reading_counts(
    account: Account, aws: Aws, bucket: str, put: int
) -> None:
    """Before a write of the first sync, a whole second one runs; the job has ended in between."""
    account.add("other", [0.5])
    account.add("job", [0.5], status="InProgress")

    def interfere() -> None:
        account.add("job", [0.5, 0.25])
        account.add("third", [0.75])
        synced(aws, bucket)

    account.at_put = {put: interfere}
    synced(aws, bucket)
    fleet = read_fleet(bucket, aws)
    assert sorted(fleet.jobs["TuningJobName"]) == ["job", "other", "third"]
    assert fleet.jobs["IsFinal"].all()
    assert len(fleet.trials) == 4
    account.calls.clear()
    assert synced(aws, bucket).jobs == 0
    assert account.calls["ListTrainingJobsForHyperParameterTuningJob"] == 0


def test_syncs_of_one_folder_wait_for_each_other(account: Account, aws: Aws, tmp_path: Path) -> None:
    for number in range(6):
        account.add(f"job-{number}", [0.5])
    threads = [threading.Thread(target=synced, args=(aws, tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(tmp_path) == [f"job-{number}" for number in range(6)]
    assert len(rows(tmp_path, "trials")) == 6
    assert synced(aws, tmp_path).jobs == 0


@pytest.mark.parametrize(
    ("dest", "message"),
    [
        ("", "must be a folder or s3://bucket/prefix, but got ''"),
        ("gs://bucket/x", "must be a folder or s3://bucket/prefix, but got 'gs://bucket/x'"),
        ("s3://", "an S3 URI looks like s3://bucket/key"),
        ("FILE", "is a file"),
    ],
)
def test_a_destination_that_is_none_is_refused_before_any_call(
    account: Account, aws: Aws, tmp_path: Path, dest: str, message: str
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(smt.SpecError, match=message):
        synced(aws, str(tmp_path / "file") if dest == "FILE" else dest)
    assert account.calls == {}


def test_a_time_that_is_none_and_a_bucket_that_does_not_exist_are_errors(account: Account, aws: Aws) -> None:
    with pytest.raises(smt.SpecError, match="since must be a time such as"):
        synced(aws, "x", since="yesterday")
    with pytest.raises(smt.ServiceError, match="nobody-has-this"):
        synced(aws, "s3://nobody-has-this/x")


def test_files_that_are_damaged_or_newer_are_named(account: Account, aws: Aws, tmp_path: Path) -> None:
    account.add("job", [0.5])
    synced(aws, tmp_path)
    state = tmp_path / "_sync" / "123456789012-us-east-1.json"
    whole = state.read_text()
    for text, message in ((whole[:-9], "is damaged"), (whole.replace('"version": 1', '"version": 7'), "update sm-tun")):
        state.write_text(text)
        with pytest.raises(smt.SpecError, match=message):
            synced(aws, tmp_path)
    state.unlink()
    (tmp_path / "jobs/month=2025-03/jobs.parquet").write_text("no parquet")
    with pytest.raises(smt.SpecError, match=r"jobs.parquet is not a file of sm-tuning sync"):
        synced(aws, tmp_path)


def test_a_folder_without_a_dataset_is_an_error_that_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(smt.SpecError, match=r"there is no dataset in .*: run sm-tuning sync"):
        read_fleet(tmp_path / "nothing")


def test_columns_that_an_earlier_version_did_not_have_are_missing_values(
    account: Account, aws: Aws, tmp_path: Path
) -> None:
    account.add("march", [0.5])
    synced(aws, tmp_path)
    path = tmp_path / "jobs/month=2025-03/jobs.parquet"
    pa.parquet.write_table(pa.parquet.read_table(path).drop_columns(["Image"]), path)
    account.add("other", [0.5], created=START + timedelta(hours=2))
    synced(aws, tmp_path)
    assert {row["TuningJobName"]: row["Image"] is None for row in rows(tmp_path, "jobs")} == {
        "march": True,
        "other": False,
    }


_MOMENTS = st.integers(0, 3).map(lambda hours: START + timedelta(hours=hours))


@given(st.dictionaries(st.sampled_from("abc"), _MOMENTS), st.dictionaries(st.sampled_from("abc"), _MOMENTS))
def test_of_each_job_the_later_reading_stays_whatever_the_order(
    first: dict[str, datetime], second: dict[str, datetime]
) -> None:
    """The file of a month, and the state, hold the same reading of each job."""

    def table(found: dict[str, datetime]) -> Any:
        empty = dict.fromkeys(TABLES["trials"])
        return table_of("trials", [empty | _maps() | {"JobId": job, "SyncedAt": at} for job, at in found.items()])

    def state(found: dict[str, datetime]) -> State:
        return State(None, {job: Entry(START, START, at, is_final=True, has_curves=False) for job, at in found.items()})

    wanted = {job: max(part[job] for part in (first, second) if job in part) for job in {*first, *second}}
    joined = changed(changed(None, table(first)), table(second)).to_pylist()
    assert {row["JobId"]: row["SyncedAt"] for row in joined} == wanted
    assert len(joined) == len(wanted)
    assert {job: entry.synced for job, entry in state(first).joined(state(second)).jobs.items()} == wanted


def _maps() -> dict[str, Any]:
    return {"Hyperparameters": {}, "FinalMetrics": {}}


def test_a_state_comes_back_as_it_was_written() -> None:
    entry = Entry(START, None, APRIL, is_final=False, has_curves=True)
    state = State(START, {"job": entry, "lost": Entry(None, None, APRIL, is_final=False, has_curves=False)})
    assert State.parse(state.to_bytes(), "here") == state


def test_the_frames_have_the_rows_in_order(account: Account, aws: Aws, tmp_path: Path) -> None:
    account.add("april", [0.5], created=APRIL)
    account.add("march", [0.5, None], tags={"team": "red"})
    synced(aws, tmp_path)
    fleet = read_fleet(tmp_path)
    assert fleet.jobs["TuningJobName"].tolist() == ["march", "april"]
    assert fleet.jobs["Tags"].tolist() == [{"team": "red"}, {}]
    assert str(fleet.jobs["CreationTime"].dtype) == "datetime64[us, UTC]"
    assert fleet.trials["FinalObjectiveValue"].isna().tolist() == [False, True, False]
    assert pd.api.types.is_bool_dtype(fleet.trials["IsBest"])
