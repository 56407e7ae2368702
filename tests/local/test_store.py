import math
import sqlite3
import threading
from dataclasses import replace

import pytest

from sm_tuning import LocalServerError
from sm_tuning.executor import Emission
from sm_tuning.local.store import BadTokenError, ListQuery, NameTaken, Store


def tuning(name="job", *, created=1000.0, status="InProgress", kind="Minimize"):
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobArn": f"arn:aws:sagemaker:us-east-1:1:hyper-parameter-tuning-job/{name.lower()}",
        "HyperParameterTuningJobStatus": status,
        "HyperParameterTuningJobConfig": {"HyperParameterTuningJobObjective": {"Type": kind, "MetricName": "loss"}},
        "CreationTime": created,
        "LastModifiedTime": created,
    }


def training(name, *, created=1000.0, status="InProgress", **members):
    return {
        "TrainingJobName": name,
        "TrainingJobArn": f"arn:aws:sagemaker:us-east-1:1:training-job/{name.lower()}",
        "TrainingJobStatus": status,
        "CreationTime": created,
        "LastModifiedTime": created,
        **members,
    }


def objective(value):
    return {"_ObjectiveStatus": "Succeeded", "_ObjectiveValue": value}


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "s.sqlite", clock=lambda: 2000.0)
    yield opened
    opened.close()


def fill(store, *docs):
    for index, doc in enumerate(docs, start=1):
        store.create_training_job(doc, tuning_job="job", index=index, tags=[])


def test_what_was_written_is_there_after_the_store_is_opened_again(tmp_path):
    first = Store(tmp_path / "s.sqlite")
    first.create_tuning_job(tuning(), [{"Key": "a", "Value": "b"}])
    fill(first, training("job-001"))
    first.add_emissions("job-001", [Emission("loss", 0, 1.5, 0.25)])
    first.close()
    second = Store(tmp_path / "s.sqlite")
    assert second.tuning_job("job") == tuning()
    assert second.training_jobs_of("job") == [training("job-001")]
    assert second.emissions("job-001") == [Emission("loss", 0, 1.5, 0.25)]
    assert second.tags(tuning()["HyperParameterTuningJobArn"]) == [{"Key": "a", "Value": "b"}]
    second.close()


def test_a_name_is_taken_without_regard_to_case(store):
    store.create_tuning_job(tuning("Job"), [])
    with pytest.raises(NameTaken):
        store.create_tuning_job(tuning("jOB"), [{"Key": "lost", "Value": "x"}])
    assert store.tuning_job("JOB")["HyperParameterTuningJobName"] == "Job"
    assert store.tags(tuning("Job")["HyperParameterTuningJobArn"]) == []


def test_update_merges_removes_with_none_and_bumps_the_modified_time(store):
    store.create_tuning_job({**tuning(), "FailureReason": "x"}, [])
    updated = store.update_tuning_job("job", {"HyperParameterTuningJobStatus": "Stopping", "FailureReason": None})
    assert updated == store.tuning_job("job")
    assert updated["LastModifiedTime"] == 2000.0
    assert "FailureReason" not in updated
    assert store.active_tuning_jobs() == ["job"]
    store.update_tuning_job("job", {"HyperParameterTuningJobStatus": "Stopped"})
    assert store.active_tuning_jobs() == []


def test_updating_a_job_that_is_not_there_is_a_key_error(store):
    with pytest.raises(KeyError):
        store.update_training_job("nope", {"TrainingJobStatus": "Failed"})
    with pytest.raises(KeyError):
        store.create_training_job(training("x"), tuning_job="nope", index=1, tags=[])
    assert store.training_job("x") is None


def test_a_failed_update_leaves_nothing_behind(store):
    store.create_tuning_job(tuning(), [])
    with pytest.raises(ValueError, match="NoSuchStatus"):
        store.update_tuning_job("job", {"HyperParameterTuningJobStatus": "NoSuchStatus"})
    assert store.tuning_job("job") == tuning()


def test_counters_have_every_key_and_tell_platform_errors_apart(store):
    store.create_tuning_job(tuning(), [])
    assert store.counters("job") == (
        {"Completed": 0, "InProgress": 0, "RetryableError": 0, "NonRetryableError": 0, "Stopped": 0},
        {"Succeeded": 0, "Pending": 0, "Failed": 0},
    )
    fill(
        store,
        training("a", status="Completed", **objective(1.0)),
        training("b", status="Failed", FailureReason="AlgorithmError: x", _ObjectiveStatus="Failed"),
        training("c", status="Failed", FailureReason="InternalServerError", _ObjectiveStatus="Failed"),
        training("d", status="Stopping"),
        training("e", status="Stopped", **objective(2.0)),
    )
    assert store.counters("job") == (
        {"Completed": 1, "InProgress": 1, "RetryableError": 1, "NonRetryableError": 1, "Stopped": 1},
        {"Succeeded": 2, "Pending": 1, "Failed": 2},
    )


@pytest.mark.parametrize(("kind", "best"), [("Minimize", "b"), ("Maximize", "d")])
def test_best_follows_the_direction_and_the_earlier_of_equals(store, kind, best):
    store.create_tuning_job(tuning(kind=kind), [])
    assert store.best_training_job("job") is None
    fill(
        store,
        training("a", status="Completed", **objective(float("nan"))),
        training("b", status="Stopped", **objective(-3.0)),
        training("c", status="Completed", **objective(-3.0)),
        training("d", status="Completed", **objective(7.0)),
        training("e", status="Failed", **objective(99.0)),
        training("f", status="InProgress", **objective(-99.0)),
    )
    assert store.best_training_job("job")["TrainingJobName"] == best


INDEXES = ("training_jobs_counted", "training_jobs_created", "training_jobs_named", "training_jobs_ranked")


def test_counters_best_and_pages_use_indexes_also_in_a_file_of_an_older_version(tmp_path):
    """Counters and best read no documents but one, and a page sorts no trials of other pages."""
    path = tmp_path / "s.sqlite"
    Store(path).close()
    with sqlite3.connect(path) as file:
        for index in INDEXES:
            file.execute(f"DROP INDEX {index}")
    file.close()
    store = Store(path)
    store.create_tuning_job(tuning(), [])
    fill(store, training("a", status="Completed", **objective(1.0)))
    asked: list[str] = []
    store._connection.set_trace_callback(asked.append)
    store.counters("job")
    store.best_training_job("job")
    for sort_by in ("Name", "CreationTime", "FinalObjectiveMetricValue"):
        query = ListQuery(sort_by=sort_by, tuning_job="job")
        store.page_training_jobs(query)
        store.page_training_jobs(replace(query, next_token=query.token(1.0, "a")))
    store._connection.set_trace_callback(None)
    store.close()
    with sqlite3.connect(path) as file:
        plans = [
            step[3]
            for sql in asked
            if "FROM training_jobs" in sql
            for step in file.execute(f"EXPLAIN QUERY PLAN {sql}")
            if "training_jobs" in step[3] or "ORDER BY" in step[3]
        ]
    file.close()
    assert plans[:2] == [
        "SEARCH training_jobs USING COVERING INDEX training_jobs_counted (tuning_id=?)",
        "SEARCH training_jobs USING INDEX training_jobs_ranked (tuning_id=? AND objective>?)",
    ]
    # A part of the order, of rows that are equal in the first term, may be sorted: names, and equal objectives.
    assert "USE TEMP B-TREE FOR ORDER BY" not in plans
    pages = [plan for plan in plans[2:] if plan.startswith("SEARCH training_jobs")]
    assert [plan.split()[4] for plan in pages] == [index for index in INDEXES[2:0:-1] + INDEXES[3:] for _ in range(2)]


def test_emissions_are_idempotent_and_keep_nan_and_infinity(store):
    values = [0.1, math.nan, math.inf, -math.inf]
    rows = [Emission("loss", step, 5.0, value) for step, value in enumerate(values)]
    store.add_emissions("A", rows[:3])
    store.add_emissions("a", [Emission("loss", 0, 9.0, 9.0), *rows])
    store.add_emissions("a", [Emission("acc", 0, 5.0, 1.0)])
    read = store.emissions("a", "loss")
    assert [e.value for e in read[:1] + read[2:]] == [0.1, math.inf, -math.inf]
    assert math.isnan(read[1].value)
    assert [e.metric for e in store.emissions("a")] == ["acc", "loss", "loss", "loss", "loss"]


def test_documents_may_hold_nan(store):
    store.create_tuning_job(tuning(), [])
    fill(store, training("a", FinalMetricDataList=[{"MetricName": "x", "Value": math.nan}]))
    assert math.isnan(store.training_job("a")["FinalMetricDataList"][0]["Value"])
    assert store.counters("job")[0]["InProgress"] == 1


def test_deleting_a_tuning_job_keeps_its_training_jobs_and_frees_the_name(store):
    store.create_tuning_job(tuning(), [{"Key": "a", "Value": "b"}])
    fill(store, training("old"))
    store.delete_tuning_job("JOB")
    assert store.tuning_job("job") is None
    assert store.training_job("old") is not None
    store.create_tuning_job(tuning(), [])
    assert store.training_jobs_of("job") == []
    assert store.tags(tuning()["HyperParameterTuningJobArn"]) == []


def test_tags_are_replaced_by_key_and_removed(store):
    store.add_tags("arn", [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    store.add_tags("arn", [{"Key": "a", "Value": "3"}])
    assert store.tags("arn") == [{"Key": "a", "Value": "3"}, {"Key": "b", "Value": "2"}]
    store.delete_tags("arn", ["a", "none"])
    assert store.tags("arn") == [{"Key": "b", "Value": "2"}]


def names(docs):
    return [doc["HyperParameterTuningJobName"] for doc in docs]


def walk(store, **query):
    pages, token = [], None
    while True:
        docs, token = store.page_tuning_jobs(ListQuery(next_token=token, **query))
        pages.append(names(docs))
        if token is None:
            return pages


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort_by", ["Name", "CreationTime", "Status"])
def test_pages_hold_every_job_once_in_order(store, sort_by, descending):
    for number in range(5):
        store.create_tuning_job(tuning(f"job-{number}", created=1000.0 + number // 2), [])
    pages = walk(store, sort_by=sort_by, descending=descending, max_results=2)
    expected = [f"job-{number}" for number in range(5)]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [name for page in pages for name in page] == (expected[::-1] if descending else expected)


def test_a_job_made_while_paging_hides_no_other(store):
    for name in ("b", "d", "f"):
        store.create_tuning_job(tuning(name), [])
    first, token = store.page_tuning_jobs(ListQuery(max_results=2))
    store.create_tuning_job(tuning("a"), [])
    second, end = store.page_tuning_jobs(ListQuery(max_results=2, next_token=token))
    assert (names(first), names(second), end) == (["b", "d"], ["f"], None)


def test_filters_narrow_the_list(store):
    store.create_tuning_job(tuning("Alpha", created=10.0), [])
    store.create_tuning_job(tuning("beta", created=20.0, status="Failed"), [])
    assert walk(store, name_contains="ALPH") == [["Alpha"]]
    assert walk(store, status="Failed") == [["beta"]]
    assert walk(store, created_after=10.0, modified_before=21.0) == [["beta"]]
    assert walk(store, created_before=10.0) == [[]]


@pytest.mark.parametrize("token", ["nonsense", "bm9uc2Vuc2U=", "ü"])
def test_a_foreign_token_is_refused(store, token):
    with pytest.raises(BadTokenError):
        store.page_tuning_jobs(ListQuery(next_token=token))


def test_a_token_of_another_query_is_refused(store):
    for name in ("a", "b"):
        store.create_tuning_job(tuning(name), [])
    _, token = store.page_tuning_jobs(ListQuery(max_results=1))
    with pytest.raises(BadTokenError, match="other filters"):
        store.page_tuning_jobs(ListQuery(max_results=1, sort_by="Status", next_token=token))


def test_sorting_by_objective_leaves_out_jobs_without_one(store):
    store.create_tuning_job(tuning(), [])
    fill(store, training("a", **objective(2.0)), training("b"), training("c", **objective(-1.0)))
    docs, _ = store.page_training_jobs(ListQuery(sort_by="FinalObjectiveMetricValue", tuning_job="job"))
    assert [doc["TrainingJobName"] for doc in docs] == ["c", "a"]


def test_threads_may_write_at_the_same_time(store):
    store.create_tuning_job(tuning(), [])
    fill(store, *[training(f"t{n}") for n in range(4)])

    def work(name):
        for step in range(25):
            store.add_emissions(name, [Emission("loss", step, 1.0, 1.0)])
            store.update_training_job(name, {"SecondaryStatus": "Training"})

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(store.emissions(f"t{n}")) for n in range(4)] == [25] * 4


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path):
    path = tmp_path / "s.sqlite"
    path.write_bytes(b"not a database, but long enough to be one" * 100)
    with pytest.raises(LocalServerError, match="cannot be read"):
        Store(path)


def test_a_newer_format_is_a_clear_error(tmp_path):
    path = tmp_path / "s.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LocalServerError, match="format 99"):
        Store(path)
