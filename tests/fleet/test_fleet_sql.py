"""The dataset in SQL: the views of DuckDB, the tables of Athena, and the answers that the documentation promises."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner
from fleet_service import START, Account

import sm_tuning as smt
from sm_tuning.aws import Aws
from sm_tuning.cli import main
from sm_tuning.fleet import TABLES, ddl

PAGE = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text(encoding="utf-8")
APRIL = datetime(2025, 4, 2, 8, tzinfo=UTC)
PRICES = {"ml.m5.xlarge": 0.25, "ml.g5.xlarge": 1.5}


def questions() -> dict[str, str]:
    """The queries of the page by their headings."""
    return dict(re.findall(r"^### ([^\n]+\?)\n(?:(?!^#).)*?^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


def fill(account: Account) -> None:
    prices = "s3://data/prices"
    account.add("red-1", [0.5, 0.25, 0.75, None], tags={"team": "red"}, data=prices)
    account.add("red-2", [0.4, 0.2, 0.3], tags={"team": "red"}, data=prices, early=True, created=APRIL)
    account.stop_trial("red-2", 2, 600)
    account.add("blue", [0.6, 0.9], tags={"team": "blue"}, direction="Maximize", instance="ml.g5.xlarge")
    account.change_trials("blue", EnableManagedSpotTraining=True, BillableTimeInSeconds=900)
    account.add("untagged", [None, None], created=APRIL)


@pytest.fixture
def database(account: Account, aws: Aws, tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    fill(account)
    dest = tmp_path / "the team's fleet"  # a quote, which SQL must escape
    smt.sync(dest, aws=aws, prices=PRICES, progress=False)
    with duckdb.connect() as connection:
        connection.execute(ddl(dest, "duckdb"))
        yield connection


#: What the queries say of the fleet above.
ANSWERS: dict[str, list[tuple[Any, ...]]] = {
    "What does each team spend?": [
        ("red", 2, 7, 1.54),
        ("blue", 1, 2, 0.75),
        (None, 1, 2, 0.5),
    ],
    "What is spent by month and instance type?": [
        ("2025-03", "ml.m5.xlarge", 1.0, 4.0),
        ("2025-03", "ml.g5.xlarge", 0.75, 0.5),
        ("2025-04", "ml.m5.xlarge", 1.04, 4.2),
    ],
    "Why do trials fail?": [("AlgorithmError: out of memory in batch N, exit code: N", 3, 2, 0.75)],
    "What is the best model of each dataset?": [
        ("s3://data/prices", "validation:rmse", 0.2, "red-2-002-00000001"),
        ("s3://data/train", "validation:rmse", 0.9, "blue-002-00000001"),
    ],
    "How much ran after the best trial was found?": [("red-1", 2, 2.0, 0.5), ("red-2", 1, 0.2, 0.04)],
    "What did early stopping save?": [("red-2", 1, 0.8, 0.21)],
    "Which jobs would have gained from early stopping?": [("red-1", 2, 0.5)],
    "What did spot instances save?": [("ml.g5.xlarge", 2, 0.75)],
    "Which hyperparameters did the best trials of a dataset have?": [
        ("red-2", 0.2, 0.2, "dart"),
        ("red-1", 0.25, 0.2, "dart"),
        ("red-2", 0.3, 0.3, "dart"),
        ("red-2", 0.4, 0.1, "dart"),
        ("red-1", 0.5, 0.1, "dart"),
        ("red-1", 0.75, 0.3, "dart"),
    ],
    "How busy were the slots of each job?": [
        ("red-2", 1, 0.72),
        ("red-1", 1, 1.0),
        ("blue", 1, 1.0),
        ("untagged", 1, 1.0),
    ],
}


def test_the_page_answers_ten_questions_and_each_answer_is_right(database: duckdb.DuckDBPyConnection) -> None:
    assert questions().keys() == ANSWERS.keys()
    assert len(ANSWERS) == 10
    for question, query in questions().items():
        found = database.execute(query).fetchall()
        wanted = ANSWERS[question]
        order = sorted if question.startswith("How busy") else list  # which does not order equal shares
        assert order(_rounded(found)) == order(wanted), question


def _rounded(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [tuple(round(value, 4) if isinstance(value, float) else value for value in row) for row in rows]


def test_duckdb_sees_the_documented_types(database: duckdb.DuckDBPyConnection) -> None:
    types = {
        "string": "VARCHAR",
        "bigint": "BIGINT",
        "double": "DOUBLE",
        "boolean": "BOOLEAN",
        "timestamp": "TIMESTAMP WITH TIME ZONE",
        "array<string>": "VARCHAR[]",
        "map<string,string>": "MAP(VARCHAR, VARCHAR)",
        "map<string,double>": "MAP(VARCHAR, DOUBLE)",
    }
    for table in ("jobs", "trials"):
        found = {name: kind for name, kind, *_ in database.execute(f"DESCRIBE {table}").fetchall()}
        wanted = {name: types[column.type] for name, column in TABLES[table].items()}
        assert found == {**wanted, "month": "VARCHAR"}
    assert database.execute("SELECT month, count(*) FROM jobs GROUP BY month ORDER BY month").fetchall() == [
        ("2025-03", 2),
        ("2025-04", 2),
    ]


def test_the_page_has_every_column_with_its_type_and_meaning() -> None:
    for table, columns in TABLES.items():
        part = PAGE.split(f"\n### {table}\n")[1].split("\n#")[0]
        rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (.+) \|$", part, re.MULTILINE)
        assert rows == [(name, *column) for name, column in columns.items()]


def test_athena_gets_the_same_columns_and_finds_the_months_by_itself() -> None:
    text = ddl("s3://bucket/tuning/", "athena")
    statements = text.split(";\n")[:-1]
    assert [statement.strip().split("\n")[0] for statement in statements] == [
        f"CREATE EXTERNAL TABLE IF NOT EXISTS {table} (" for table in ("jobs", "trials", "curves")
    ]
    for table, statement in zip(("jobs", "trials", "curves"), statements, strict=True):
        columns = re.findall(r"^  `(\w+)` ([a-z<>,]+?),?$", statement, re.MULTILINE)
        assert columns == [(name.lower(), column.type) for name, column in TABLES[table].items()]
        assert f"LOCATION 's3://bucket/tuning/{table}/'" in statement
        assert f"'storage.location.template' = 's3://bucket/tuning/{table}/month=${{month}}/'" in statement


@pytest.mark.parametrize(
    ("dest", "engine", "message"),
    [
        ("fleet", "athena", "Athena reads from S3 only, but the dataset is in 'fleet'"),
        ("s3://", "athena", "an S3 URI looks like"),
        ("nothing", "duckdb", "there is no dataset in 'nothing': run sm-tuning sync nothing"),
        ("fleet", "duck", "there is no DDL for 'duck': did you mean 'duckdb'"),
    ],
)
def test_ddl_that_would_not_work_is_refused(dest: str, engine: str, message: str) -> None:
    with pytest.raises(smt.SpecError, match=re.escape(message)):
        ddl(dest, engine)


def run(aws: Aws, *words: str) -> Any:
    connect = {"connect": lambda **_: aws}
    return CliRunner().invoke(main, list(words), obj=connect)


def test_the_command_says_what_it_wrote_and_what_still_runs(account: Account, aws: Aws, tmp_path: Path) -> None:
    fill(account)
    account.add("runs", [0.5], status="InProgress")
    prices = tmp_path / "prices.json"
    prices.write_text('{"ml.m5.xlarge": 0.25}')
    sync = functools.partial(run, aws, "sync", str(tmp_path / "fleet"), "--prices", str(prices))
    done = sync("--since", "2025-04-01")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"sm-tuning: {tmp_path}/fleet: wrote 2 tuning jobs with 5 trials; it has 2 of this region\n"
    done = sync("--since", "2025-01-01")
    assert "wrote 3 tuning jobs with 7 trials; it has 5 of this region\n" in done.stderr
    assert done.stderr.endswith("still running, and read again by the next sync: runs\n")
    account.jobs.pop("runs")
    assert sync().stderr.endswith("deleted in SageMaker; their rows stay: runs\n")
    text = run(aws, "sync", str(tmp_path / "fleet"), "--ddl", "duckdb").stdout
    assert duckdb.connect().execute(text).execute("SELECT count(*) FROM trials").fetchall() == [(12,)]
    assert "curves" not in text


def test_the_command_reports_what_aws_withheld_by_its_exit_code(account: Account, aws: Aws, tmp_path: Path) -> None:
    account.add("job", [0.5])
    account.refused["job"] = ("AccessDeniedException", "not you")
    done = run(aws, "sync", str(tmp_path))
    assert done.exit_code == 3
    assert "sm-tuning: warning: job could not be read completely" in done.stderr


def test_options_that_ddl_would_ignore_are_refused(aws: Aws, tmp_path: Path) -> None:
    done = run(aws, "sync", str(tmp_path), "--ddl", "duckdb", "--since", "2025-01-01", "--curves")
    assert done.exit_code == 2
    assert "--ddl cannot be combined with --since, --curves" in done.stderr


def test_a_job_of_this_hour_costs_no_call_when_it_is_listed_again(account: Account, aws: Aws, tmp_path: Path) -> None:
    account.add("job", [0.5], created=START)
    smt.sync(tmp_path, aws=aws, prices={}, progress=False)
    account.calls.clear()
    smt.sync(tmp_path, aws=aws, prices={}, progress=False)
    assert account.calls == {"GetCallerIdentity": 1, "ListHyperParameterTuningJobs": 1}
