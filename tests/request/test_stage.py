"""Local files get their place in S3; archives are the same bytes for the same files, and hold no secrets."""

import gzip
import hashlib
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import tunings

from sm_tuning import SpecError
from sm_tuning.request import pack_source, stage, to_request
from sm_tuning.request._stage import skip_of
from sm_tuning.spec import (
    ContinuousParameter,
    FileSystemInput,
    Input,
    PyTorchEstimator,
    TrainingDefinition,
    Tuning,
    XGBoostEstimator,
)

PREFIXES = {"code_prefix": "s3://b/code/", "data_prefix": "s3://b/data"}


def pytorch(**fields):
    default = {
        "entry_point": "train.py",
        "framework_version": "2.6",
        "py_version": "py312",
        "instance_type": "ml.m5.large",
        "metric_definitions": {"acc": "acc=(.*)"},
    }
    return PyTorchEstimator(**default | fields)


def tuning(estimator, inputs=None):
    metrics = estimator.metric_definitions
    return Tuning(
        estimator=estimator,
        inputs=inputs or {"train": "s3://b/d"},
        objective_metric_name=metrics[0].name if metrics else "validation:rmse",
        hyperparameter_ranges={"lr": ContinuousParameter(0.1, 0.2)},
    )


def on_data(inputs):
    return tuning(XGBoostEstimator(version="1.7-1", instance_type="ml.m5.large"), inputs)


def members(packed):
    """Archive name -> content."""
    raw = packed if isinstance(packed, bytes) else packed.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(raw), mode="r:gz") as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "src"
    (folder / "pkg").mkdir(parents=True)
    (folder / "train.py").write_text("print('acc=1')\n")
    (folder / "pkg" / "model.py").write_text("x = 1\n")
    (folder / "requirements.txt").write_text("numpy\n")
    return folder


# ── archives ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_archive_holds_the_files_of_the_folder(source):
    packed = pack_source(pytorch(source_dir=str(source)))
    assert members(packed) == {
        "pkg/model.py": b"x = 1\n",
        "requirements.txt": b"numpy\n",
        "train.py": b"print('acc=1')\n",
    }


def test_the_same_files_give_the_same_bytes(source, tmp_path):
    first = pack_source(pytorch(source_dir=str(source)))
    other = tmp_path / "elsewhere"
    for name in ("train.py", "requirements.txt", "pkg/model.py"):
        copy = other / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((source / name).read_bytes())
        copy.chmod(0o600)
        os.utime(copy, (1, 1))
    assert pack_source(pytorch(source_dir=str(other))) == first


def test_an_archive_says_nothing_about_who_made_it_and_when(source):
    packed = pack_source(pytorch(source_dir=str(source)))
    assert packed[4:8] == b"\0\0\0\0", "the time of the gzip header"
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        infos = archive.getmembers()
    assert {(info.uid, info.gid, info.uname, info.gname) for info in infos} == {(0, 0, "", "")}
    assert len({info.mtime for info in infos}) == 1
    assert min(info.mtime for info in infos) > 315532800, "zip files know no time before 1980"


def test_the_right_to_execute_is_kept(source):
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o775)
    with tarfile.open(fileobj=io.BytesIO(pack_source(pytorch(source_dir=str(source))))) as archive:
        modes = {info.name: stat.S_IMODE(info.mode) for info in archive}
    assert (modes["run.sh"], modes["train.py"]) == (0o755, 0o644)


def test_a_script_without_a_folder_is_packed_alone(source):
    assert set(members(pack_source(pytorch(entry_point=str(source / "train.py"))))) == {"train.py"}


def test_ignored_files_stay_out(source):
    for name in ("__pycache__/a.pyc", ".env", "notes.md", "pkg/data/big.bin", "pkg/b.pyc"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("x")
    assert set(members(pack_source(pytorch(source_dir=str(source))))) == {
        "notes.md",
        "pkg/data/big.bin",
        "pkg/model.py",
        "requirements.txt",
        "train.py",
    }
    own = pytorch(source_dir=str(source), ignore_patterns=["*.md", "pkg/data", "__pycache__", ".env"])
    assert set(members(pack_source(own))) == {"pkg/b.pyc", "pkg/model.py", "requirements.txt", "train.py"}


@pytest.mark.parametrize("name", [".git/config", "sub/.git/config", "worktree/.git", ".GIT/config"])
def test_version_control_never_leaves_the_machine(source, name):
    (source / name).parent.mkdir(parents=True, exist_ok=True)
    (source / name).write_text("token")
    packed = pack_source(pytorch(source_dir=str(source), ignore_patterns=[]))
    assert not [member for member in members(packed) if ".git" in member.lower()]


def test_a_sagemakerignore_file_is_honoured_and_stays_out(source):
    (source / ".sagemakerignore").write_text("# data\n/data/\n*.log\n!keep.log\ndocs/**/draft.md\n")
    for name in ("data/a.csv", "pkg/data/b.csv", "x.log", "keep.log", "docs/a/b/draft.md", "docs/c.md"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("x")
    found = set(members(pack_source(pytorch(source_dir=str(source)))))
    assert found == {"train.py", "requirements.txt", "pkg/model.py", "pkg/data/b.csv", "keep.log", "docs/c.md"}


@pytest.mark.parametrize(
    ("line", "ignored", "kept"),
    [
        ("a", ["a", "x/a"], ["ab", "x/ab"]),
        ("/a", ["a"], ["x/a"]),
        ("x/a", ["x/a"], ["y/x/a", "a"]),
        ("*.txt", ["a.txt", "x/b.txt"], ["a.txt.gz"]),
        ("x/*.txt", ["x/a.txt"], ["x/y/a.txt"]),
        ("x/**", ["x/a", "x/y/a"], ["x"]),
        ("**/a", ["a", "x/a", "x/y/a"], ["b"]),
        ("x/**/a", ["x/a", "x/y/a", "x/y/z/a"], ["a"]),
        ("a[0-9]?", ["a1b"], ["ab1"]),
        ("  ", [], ["a"]),
        ("#a", [], ["a", "#a"]),
        (r"\#a", ["#a"], ["a"]),
        (r"a\*", ["a*"], ["ab"]),
    ],
)
def test_a_line_of_sagemakerignore(line, ignored, kept):
    skip = skip_of((), [line])

    assert [name for name in ignored if not skip(name, False)] == []
    assert [name for name in kept if skip(name, False)] == []


def test_a_line_with_a_slash_at_its_end_is_about_folders():
    skip = skip_of((), ["a/"])
    assert skip("x/a", True)
    assert not skip("x/a", False)


def test_a_later_line_of_sagemakerignore_decides():
    skip = skip_of((), ["data/*", "!data/keep.csv", "!data/keep/"])
    assert not skip("data", True)
    assert [skip("data/a.csv", False), skip("data/keep.csv", False), skip("data/keep", True)] == [True, False, False]


def test_dependencies_stand_at_the_root(source, tmp_path):
    (tmp_path / "lib" / "inner").mkdir(parents=True)
    (tmp_path / "lib" / "inner" / "a.py").write_text("a")
    (tmp_path / "lib" / "a.pyc").write_text("a")
    (tmp_path / "one.py").write_text("one")
    packed = pack_source(
        pytorch(source_dir=str(source), dependencies=[str(tmp_path / "lib"), str(tmp_path / "one.py")])
    )
    assert {"lib/inner/a.py", "one.py", "train.py"} <= set(members(packed))
    assert "lib/a.pyc" not in members(packed)


def test_a_dependency_that_clashes_is_refused(source, tmp_path):
    (tmp_path / "train.py").write_text("other")
    with pytest.raises(SpecError, match=r"dependencies: 'train\.py' .* is in the archive already"):
        pack_source(pytorch(source_dir=str(source), dependencies=[str(tmp_path / "train.py")]))


def test_links_inside_the_folder_are_followed(source):
    (source / "alias.py").symlink_to("pkg/model.py")
    (source / "again").symlink_to("pkg")
    found = members(pack_source(pytorch(source_dir=str(source))))
    assert found["alias.py"] == found["again/model.py"] == b"x = 1\n"


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("../secret", "leads out of it"),
        ("nowhere", "leads nowhere"),
        (".", "goes round in a circle"),
        (".git/config", "leads into .git"),
    ],
)
def test_a_link_that_is_not_safe_is_refused(source, target, sentence):
    (source.parent / "secret").write_text("token")
    (source / ".git").mkdir()
    (source / ".git" / "config").write_text("token")
    (source / "pkg" / "link").symlink_to(source / target)
    with pytest.raises(SpecError, match=sentence):
        pack_source(pytorch(source_dir=str(source)))


def test_a_problem_inside_a_folder_has_the_place_of_the_folder(source):
    (source / "link").symlink_to(source / "nowhere")
    with pytest.raises(SpecError) as caught:
        stage(tuning(pytorch(source_dir=str(source))), **PREFIXES)
    assert caught.value.problems == (f"estimator.source_dir: the link 'link' in {str(source)!r} leads nowhere",)


def test_what_is_not_a_file_is_refused(source):
    os.mkfifo(source / "pipe")
    with pytest.raises(SpecError, match=r"'pipe' in .* is neither a file nor a folder"):
        pack_source(pytorch(source_dir=str(source)))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"entry_point": "missing.py"}, "a missing script: 'missing.py' in source_dir .* does not exist"),
        ({"ignore_patterns": ["train.*"]}, "a missing script: 'train.py' .* is left out by ignore_patterns"),
        ({"entry_point": "../train.py"}, "must be a path inside source_dir"),
        ({"source_dir": "/no/such/folder"}, "source_dir: '/no/such/folder' does not exist"),
        ({"source_dir": None, "entry_point": "/no/train.py"}, "a missing script: '/no/train.py' does not exist"),
        ({"dependencies": ["/no/such/lib"]}, "dependencies: '/no/such/lib' does not exist"),
    ],
)
def test_a_source_that_cannot_be_packed_is_named(source, fields, sentence):
    with pytest.raises(SpecError, match=sentence):
        pack_source(pytorch(**{"source_dir": str(source)} | fields))


def test_an_archive_of_ones_own_is_taken_as_it_is(source, tmp_path):
    own = tmp_path / "own.tar.gz"
    with tarfile.open(own, "w:gz") as archive:
        archive.add(source / "train.py", arcname="./train.py")
    assert pack_source(pytorch(source_dir=str(own))) == own
    with pytest.raises(SpecError, match=r"a missing script: 'other\.py' is not in"):
        pack_source(pytorch(source_dir=str(own), entry_point="other.py"))
    with pytest.raises(SpecError, match="cannot be added"):
        pack_source(pytorch(source_dir=str(own), dependencies=[str(source)]))
    own.write_bytes(gzip.compress(b"no tar"))
    with pytest.raises(SpecError, match=r"is not a \.tar\.gz archive"):
        pack_source(pytorch(source_dir=str(own)))


def test_a_big_source_is_packed_into_a_file_with_the_same_bytes(source):
    small = pack_source(pytorch(source_dir=str(source)))
    big = pack_source(pytorch(source_dir=str(source)), in_memory=1)
    assert isinstance(big, Path)
    assert big.read_bytes() == small
    big.unlink()
    big.parent.rmdir()


_PARTS = st.text("abc.é ", min_size=1, max_size=4).filter(lambda part: part.strip(". ") and part == part.strip())


@given(files=st.dictionaries(st.tuples(_PARTS, _PARTS), st.binary(max_size=30), max_size=5))
def test_an_archive_gives_every_file_back(tmp_path_factory, files):
    folder = tmp_path_factory.mktemp("src")
    expected = {"train.py": b""}
    for (first, second), content in files.items():
        expected[f"d-{first}/{second}"] = content
    for name, content in expected.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    packed = pack_source(pytorch(source_dir=str(folder), ignore_patterns=[]))
    assert members(packed) == expected


# ── staging ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_staged_script_becomes_a_request(source):
    staged = stage(tuning(pytorch(source_dir=str(source), ignore_patterns=["*.md"])), **PREFIXES)
    (upload,) = staged.uploads
    digest = hashlib.sha256(upload.source).hexdigest()[:16]
    assert upload.uri == f"s3://b/code/{digest}/sourcedir.tar.gz"
    assert staged.tuning.estimator == pytorch(source_dir=upload.uri)
    role = "arn:aws:iam::123456789012:role/R"
    assert to_request(staged.tuning, name="j", region="us-east-1", role=role, output_path="s3://b/o")


def test_a_script_alone_is_staged_under_its_own_name(source):
    staged = stage(tuning(pytorch(entry_point=str(source / "train.py"))), **PREFIXES)
    assert staged.tuning.estimator.entry_point == "train.py"


def test_code_location_decides_where_code_goes(source):
    staged = stage(tuning(pytorch(source_dir=str(source), code_location="s3://own/place/")), **PREFIXES)
    assert staged.uploads[0].uri.startswith("s3://own/place/")
    assert staged.tuning.estimator.code_location is None


def test_staging_fields_change_what_is_uploaded(source, tmp_path):
    (tmp_path / "one.py").write_text("one")

    def uris(**fields):
        return [upload.uri for upload in stage(tuning(pytorch(source_dir=str(source), **fields)), **PREFIXES).uploads]

    plain = uris()
    assert uris(dependencies=[str(tmp_path / "one.py")]) != plain
    assert uris(ignore_patterns=["requirements.txt"]) != plain
    assert uris(code_location="s3://own/place") != plain


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    (folder / "parts").mkdir(parents=True)
    (folder / "train.csv").write_text("1,2\n")
    (folder / "parts" / "a.csv").write_text("3,4\n")
    return folder


def test_a_local_file_gets_a_key_made_of_its_content(data):
    staged = stage(on_data({"train": str(data / "train.csv")}), **PREFIXES)
    (upload,) = staged.uploads
    digest = hashlib.sha256(b"1,2\n").hexdigest()[:16]
    assert upload.uri == f"s3://b/data/{digest}/train.csv"
    assert upload.source == data / "train.csv"
    assert staged.tuning.inputs["train"] == Input(uri=upload.uri, content_type="text/csv")


def test_a_local_folder_is_uploaded_file_by_file_below_one_key(data):
    staged = stage(on_data({"train": data}), **PREFIXES)
    uri = staged.tuning.inputs["train"].uri
    assert uri.endswith("/data/")
    assert {upload.uri: upload.source for upload in staged.uploads} == {
        f"{uri}train.csv": data / "train.csv",
        f"{uri}parts/a.csv": data / "parts" / "a.csv",
    }


def test_the_key_of_a_folder_follows_names_and_contents(data):
    def key():
        return stage(on_data({"train": data}), **PREFIXES).tuning.inputs["train"].uri

    first = key()
    os.utime(data / "train.csv", (1, 1))
    assert key() == first
    (data / "train.csv").rename(data / "other.csv")
    renamed = key()
    (data / "other.csv").write_text("9\n")
    assert len({first, renamed, key()}) == 3


def test_what_desktops_leave_in_folders_is_not_data(data):
    (data / ".DS_Store").write_text("x")
    (data / ".ipynb_checkpoints").mkdir()
    (data / ".ipynb_checkpoints" / "train.csv").write_text("x")
    assert len(stage(on_data({"train": data}), **PREFIXES).uploads) == 2


def test_links_in_data_are_followed_out_of_the_folder(data, tmp_path):
    (tmp_path / "cache.csv").write_text("5\n")
    (data / "linked.csv").symlink_to(tmp_path / "cache.csv")
    assert len(stage(on_data({"train": data}), **PREFIXES).uploads) == 3


def test_the_same_content_is_uploaded_once(data, source):
    file = str(data / "train.csv")
    script = pytorch(source_dir=str(source))
    ranges = {"lr": ContinuousParameter(0.1, 0.2)}
    one = TrainingDefinition(estimator=script, hyperparameter_ranges=ranges, objective_metric_name="acc")
    two = one.replace(estimator=script.replace(max_run=60), inputs={"other": file})
    staged = stage(Tuning(estimators={"one": one, "two": two}, inputs={"train": file}), **PREFIXES)
    assert len(staged.uploads) == 2
    both = [each.estimator.source_dir for each in staged.tuning.estimators.values()]
    assert both[0] == both[1]
    assert staged.tuning.estimators["two"].inputs["other"].uri == staged.tuning.inputs["train"].uri


def test_every_path_that_is_wrong_is_named_at_once(tmp_path):
    (tmp_path / "empty").mkdir()
    inputs = {"train": "/no/train.csv", "empty": str(tmp_path / "empty"), "cloud": "gs://b/x"}
    with pytest.raises(SpecError) as caught:
        stage(tuning(pytorch(source_dir="/no/src"), inputs), **PREFIXES)
    assert caught.value.problems == (
        "inputs.train: '/no/train.csv' does not exist",
        f"inputs.empty: the folder '{tmp_path / 'empty'}' is empty",
        "inputs.cloud: 'gs://b/x' is neither an s3:// URI nor a path on this machine",
        "estimator.source_dir: '/no/src' does not exist",
    )


def test_a_prefix_must_be_in_s3(source):
    with pytest.raises(SpecError, match="code_prefix must be an s3:// prefix, but got '/tmp'"):
        stage(tuning(pytorch(source_dir=str(source))), code_prefix="/tmp", data_prefix="s3://b")


def test_a_file_system_passes_through():
    files = FileSystemInput(file_system_id="fs-0123abcd", file_system_type="EFS", directory_path="/a")
    estimator = XGBoostEstimator(
        version="1.7-1", instance_type="ml.m5.large", subnets=["subnet-1"], security_group_ids=["sg-1"]
    )
    staged = stage(tuning(estimator, {"train": files}), **PREFIXES)
    assert (staged.tuning.inputs["train"], staged.uploads) == (files, ())


@given(tuning=tunings())
def test_what_is_in_s3_already_is_left_alone(tuning):
    staged = stage(tuning, **PREFIXES)
    assert (staged.tuning, staged.uploads) == (tuning, ())


def test_the_file_of_a_big_archive_lives_as_long_as_its_upload(source):
    with (source / "big.bin").open("wb") as file:
        file.truncate(65 * 1024 * 1024)
    staged = stage(tuning(pytorch(source_dir=str(source))), **PREFIXES)
    (upload,) = staged.uploads
    path = upload.source
    assert path.is_file()
    del staged, upload
    assert not path.exists()
