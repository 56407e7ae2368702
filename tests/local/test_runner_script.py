"""The pure parts of running a script: arguments, launchers, values, keys, archives."""

import math
import shlex

import pytest
from _training import IMAGE
from hypothesis import given
from hypothesis import strategies as st

from sm_tuning._files import write_tar
from sm_tuning.executor._command import argument, command_line, decode, script_of
from sm_tuning.executor._data import extract, gather, prefix_folder
from sm_tuning.executor._hosts import Cluster, Folder, Site, TrainingFailedError, algorithm_error, hosts_of
from sm_tuning.executor._metrics import MetricScanner, read_value


def site(folder, count=1, rank=0, port=0):
    hosts = hosts_of({"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": count}})
    return Site(hosts[rank], Cluster(hosts, port), Folder(folder))


KEYS = st.text(st.characters(codec="ascii", categories=("L", "N"), include_characters="-_"), min_size=1).filter(
    lambda key: not key.startswith("sagemaker_")
)


def job(**hyperparameters):
    return {
        "TrainingJobName": "job",
        "AlgorithmSpecification": {"TrainingImage": IMAGE},
        "HyperParameters": {
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": "s3://b/code.tar.gz",
            **hyperparameters,
        },
    }


@given(st.dictionaries(KEYS, st.text(st.characters(exclude_characters="\0"), max_size=20), max_size=6))
def test_every_hyperparameter_reaches_the_script_and_the_toolkits_own_do_not(values):
    words = script_of(job(**values, _tuning_objective_metric="loss")).arguments
    expected = {("--" if len(key) > 1 else "-") + key: argument(decode(value)) for key, value in values.items()}
    assert dict(zip(words[::2], words[1::2], strict=True)) == expected
    assert [word.lstrip("-") for word in words[::2]] == [key.lstrip("-") for key in sorted(values)]


@given(st.dictionaries(KEYS, st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20), max_size=4))
def test_a_shell_script_gets_words_that_the_shell_leaves_alone(tmp_path_factory, values):
    place = site(tmp_path_factory.mktemp("job"))
    place.folder.make()
    (place.folder.code / "run.sh").touch()
    script = script_of(job(**{**values, "sagemaker_program": "run.sh"}))
    shell, option, line = command_line(script, place, "python", 0)
    assert (shell, option) == ("/bin/sh", "-c")
    assert shlex.split(line) == ["./run.sh", *script.arguments]


@pytest.mark.parametrize(("gpus", "processes"), [(0, 1), (4, 4)])
def test_the_toolkits_distributed_switch_starts_torchrun(tmp_path, gpus, processes):
    script = script_of(job(sagemaker_torch_distributed_enabled="true", lr="0.1"))
    words = command_line(script, site(tmp_path), "python", gpus)
    assert words[:4] == ["python", "-u", "-m", "torch.distributed.run"]
    assert f"--nproc_per_node={processes}" in words
    assert words[-3:] == ["train.py", "--lr", "0.1"]


def test_a_program_of_another_kind_is_refused(tmp_path):
    with pytest.raises(TrainingFailedError, match=r"neither a \.py nor a \.sh"):
        command_line(script_of(job(sagemaker_program="train.R")), site(tmp_path), "python", 0)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_any_number_of_single_precision_is_read_as_it_was_printed(value):
    assert read_value(repr(value)) == value
    assert read_value(f" {value:e} ") == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "", None, "x", "1e39", "0x10"])
def test_what_is_no_finite_single_precision_number_is_no_value(text):
    assert read_value(text) is None


@pytest.mark.usefixtures("processes")
@given(st.lists(st.one_of(st.floats(-1e30, 1e30), st.just(math.nan), st.just(None)), max_size=8))
def test_steps_count_the_values_of_a_metric_whatever_lies_between(values):
    lines = [(1000 + i, "chatter" if v is None else f"epoch {i} loss={v!r};") for i, v in enumerate(values)]
    with MetricScanner([{"Name": "loss", "Regex": "loss=(.*?);"}], 5.0) as scanner:
        found = [one for line in lines for one in scanner.scan([line])]
    kept = [v for v in values if v is not None and math.isfinite(v)]
    assert [one.value for one in found] == kept
    assert [one.step for one in found] == list(range(len(kept)))


@pytest.mark.usefixtures("processes")
def test_a_regex_that_is_none_costs_its_metric_only():
    definitions = [{"Name": "bad", "Regex": "("}, {"Name": "no group", "Regex": "a"}, {"Name": "a", "Regex": "a=(.)"}]
    with MetricScanner(definitions, 5.0) as scanner:
        assert [(one.metric, one.value) for one in scanner.scan([(1, "a=5")])] == [("a", 5.0)]
        assert "'bad'" in scanner.problems[0]


@pytest.mark.parametrize(
    ("uri", "found", "base"),
    [
        ("s3://b/d", ["s3://b/d/x", "s3://b/d/y/z"], "s3://b/d/"),
        ("s3://b/d/", ["s3://b/d/x"], "s3://b/d/"),
        ("s3://b/d", ["s3://b/d/x", "s3://b/data/y"], "s3://b/"),
        ("s3://b/p/part-", ["s3://b/p/part-0", "s3://b/p/part-1"], "s3://b/p/"),
        ("s3://b", ["s3://b/x"], "s3://b/"),
    ],
)
def test_a_prefix_is_cut_at_the_last_folder_that_it_names(uri, found, base):
    assert prefix_folder(uri, found) == base


names = st.lists(
    st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=5), min_size=1, max_size=3
).map("/".join)


@given(st.dictionaries(names.map(lambda n: n + ".f"), st.binary(max_size=50), max_size=4))
def test_packing_and_unpacking_gives_the_files_back(tmp_path_factory, files):
    source, target = tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")
    for name, data in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    archive = tmp_path_factory.mktemp("c") / "x.tar.gz"
    with archive.open("wb") as file:
        write_tar(gather([source])[0], file)
    extract(archive, target)
    assert {p.relative_to(target).as_posix(): p.read_bytes() for p in target.rglob("*") if p.is_file()} == {
        p.relative_to(source).as_posix(): p.read_bytes() for p in source.rglob("*") if p.is_file()
    }


def test_a_link_that_leads_out_of_the_model_folder_is_not_shipped(tmp_path):
    (tmp_path / "secret").write_text("s")
    model = tmp_path / "model"
    model.mkdir()
    (model / "link").symlink_to(tmp_path / "secret")
    (model / "own").write_text("o")
    with (tmp_path / "m.tar.gz").open("wb") as file:
        write_tar(gather([model])[0], file)
    extract(tmp_path / "m.tar.gz", tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["own"]


@given(st.text(max_size=3000), st.integers(1, 255))
def test_a_failure_reason_fits_and_keeps_its_exit_code(failure, code):
    reason = str(algorithm_error(failure, code))
    assert len(reason) <= 1024
    assert reason.startswith("AlgorithmError: " + failure[:900])
    assert reason.endswith(f", exit code: {code}")


def test_json_is_read_and_what_is_not_json_is_kept():
    assert [decode(v) for v in ('"a"', "a", "1", "1e-3", "true", "True", "[1]", "")] == [
        *("a", "a", 1, 0.001, True, "True", [1], "")
    ]
    assert argument({"b": 1, "a": [2]}) == "a=[2],b=1"
