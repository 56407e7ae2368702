"""Facts that several packages share: names and numbers of the API, statuses, files, advice about unknown names."""

from __future__ import annotations

import io
import math
import os
import resource
import struct
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import botocore.session
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sm_tuning import _statuses as statuses
from sm_tuning._errors import SpecError, did_you_mean
from sm_tuning._files import write_atomic, write_output, write_tar
from sm_tuning._wire import (
    RANGE_KINDS,
    from_float32,
    is_reserved_hyperparameter,
    reaches,
    tag_list,
    to_float32,
    to_tags,
)

NUMBERS = st.floats(allow_nan=False)


@given(NUMBERS)
def test_numbers_are_rounded_as_ieee_754_has_it(value: float) -> None:
    with np.errstate(over="ignore"):
        assert to_float32(value) == float(np.float32(value))


@given(st.floats(width=32, allow_nan=False))
def test_the_shortest_number_is_stored_as_the_same_one(value: float) -> None:
    short = from_float32(value)
    assert to_float32(short) == value
    assert len(repr(short)) <= len(repr(value))


def test_a_decimal_comes_back_as_it_was_typed_and_other_numbers_unchanged() -> None:
    assert [from_float32(to_float32(value)) for value in (0.9, 0.95, 1e-5, 123.25)] == [0.9, 0.95, 1e-5, 123.25]
    assert from_float32(0.9) == 0.9
    assert from_float32(1e39) == 1e39
    assert math.isnan(from_float32(math.nan))


@given(NUMBERS, st.booleans())
def test_a_target_is_reached_by_the_value_that_the_service_keeps_for_it(target: float, maximize: bool) -> None:
    assert reaches(to_float32(target), target, maximize=maximize)


def test_a_target_is_not_reached_by_the_next_worse_value() -> None:
    worse = struct.unpack("<f", struct.pack("<I", struct.unpack("<I", struct.pack("<f", 0.9))[0] - 1))[0]
    assert not reaches(worse, 0.9, maximize=True)
    assert reaches(worse, 0.9, maximize=False)


def test_names_of_the_service_and_its_toolkits_are_reserved() -> None:
    assert [is_reserved_hyperparameter(name) for name in ("sagemaker_program", "_tuning_objective_metric", "lr")] == [
        True,
        True,
        False,
    ]


def test_tags_in_both_forms() -> None:
    assert to_tags(tag_list({"team": "a", "cost": ""})) == {"team": "a", "cost": ""}


@pytest.mark.parametrize(
    ("ours", "shape"),
    [
        (statuses.TuningStatus, "HyperParameterTuningJobStatus"),
        (statuses.TrainingStatus, "TrainingJobStatus"),
        (statuses.ObjectiveStatus, "ObjectiveStatus"),
        (statuses.PackageStatus, "ModelPackageStatus"),
        (statuses.EndpointStatus, "EndpointStatus"),
        (statuses.JobStatus, "AutoMLJobStatus"),
        (statuses.JobStatus, "CandidateStatus"),
        (statuses.JobStatus, "ProcessingJobStatus"),
        (statuses.JobStatus, "TransformJobStatus"),
    ],
)
def test_the_statuses_are_those_of_the_service_model(ours: type[statuses.TuningStatus], shape: str) -> None:
    model = botocore.session.get_session().get_service_model("sagemaker")

    assert {str(status) for status in ours} == set(model.shape_for(shape).enum)
    assert set(statuses.SecondaryStatus) < set(model.shape_for("SecondaryStatus").enum)
    assert set(statuses.COUNTERS) == set(model.shape_for("TrainingJobStatusCounters").members)
    assert {*RANGE_KINDS, "AutoParameters"} == set(model.shape_for("ParameterRanges").members)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_atomic(path, "first\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # as on a full disk
    try:
        with pytest.raises(OSError, match="too large"):
            write_atomic(path, "x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"first\n"
    assert [found.name for found in tmp_path.iterdir()] == ["file.txt"]


def test_the_target_of_a_link_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "table.csv", tmp_path / "link.csv"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to("there/table.csv")
    before = target.stat().st_ino
    write_output(link, "new")
    assert link.is_symlink()
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("new", 0o640)
    assert target.stat().st_ino != before  # replaced as a whole, not overwritten
    new = tmp_path / "new.csv"
    new.symlink_to(tmp_path / "there" / "made.csv")
    write_output(new, "made")
    assert (tmp_path / "there" / "made.csv").read_text() == "made"


def test_a_pipe_or_device_is_written_in_place(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_bytes)
        write_output(pipe, "rows\n")
        assert read.result(timeout=60) == b"rows\n"
    assert pipe.is_fifo()
    assert [found.name for found in tmp_path.iterdir()] == ["pipe"]


def test_an_output_that_is_a_folder_is_refused_and_nothing_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(SpecError, match=r"cannot write .*folder"):
        write_output(tmp_path / "folder", "x")
    assert [found.name for found in tmp_path.iterdir()] == ["folder"]


def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_output(tmp_path / "new.csv", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "new.csv").stat().st_mode & 0o777 == 0o640


def test_a_private_file_replaces_a_planted_link(tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    planted.write_text("mine")
    (tmp_path / "keys.json").symlink_to(planted)
    write_atomic(tmp_path / "keys.json", "{}", private=True)
    assert planted.read_text() == "mine"
    assert not (tmp_path / "keys.json").is_symlink()


def test_writers_of_the_same_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 120)  # of 240 bytes, so that a longer name is not possible
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: write_atomic(path, bytes([number]) * 10_000), range(64)))
    assert len(set(path.read_bytes())) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_a_private_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    write_atomic(tmp_path / "keys.json", "{}", private=True)
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600


def test_an_output_that_cannot_be_written_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot write .*nowhere.*: No such file or directory"):
        write_output(tmp_path / "nowhere" / "page.html", "")


def test_an_archive_depends_on_names_and_contents_alone(tmp_path: Path) -> None:
    script, data = tmp_path / "run.sh", tmp_path / "data"
    script.write_text("true")
    script.chmod(0o700)
    data.write_text("1")
    first, again = io.BytesIO(), io.BytesIO()
    write_tar({"b": data, "a/run.sh": script}, first, mtime=100)
    script.touch()
    data.chmod(0o600)
    write_tar({"a/run.sh": script, "b": data}, again, mtime=100)

    assert first.getvalue() == again.getvalue()
    with tarfile.open(fileobj=io.BytesIO(first.getvalue())) as archive:
        assert [(one.name, one.mode, one.mtime, one.uname) for one in archive] == [
            ("a/run.sh", 0o755, 100, ""),
            ("b", 0o644, 100, ""),
        ]


def test_the_advice_about_an_unknown_name() -> None:
    assert did_you_mean("max_job", {"max_jobs", "strategy"}) == "did you mean 'max_jobs'?"
    assert did_you_mean("x", {"b", "a"}, kind="known keys") == "known keys are a, b"
