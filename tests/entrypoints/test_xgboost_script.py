"""The XGBoost script as a process: trains, reports, stops, and its model predicts what was scored."""

import importlib.util
import json
import re
import signal
import tarfile
from pathlib import Path

import numpy as np
import pytest

from sm_tuning.executor.algorithms import rules_of

pytestmark = pytest.mark.skipif(importlib.util.find_spec("xgboost") is None, reason="needs xgboost")

SCRIPT = "xgboost_breast_cancer"
SETTINGS = (
    "--eta", 0.4, "--subsample", 0.7, "--num_round", 400, "--early_stopping_rounds", 5, "--report_every", 4,
)  # fmt: skip


def lines_in(output):
    return [line for line in output.splitlines() if re.match(r"\[\d+\]\t", line)]


def rounds_in(output):
    return [int(line[1 : line.index("]")]) for line in lines_in(output)]


def history_of(base):
    return json.loads((base / "output" / "data" / "history.json").read_text())


def rounds_of(model_dir):
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(model_dir / "model.json")
    return booster.num_boosted_rounds()


@pytest.fixture
def read(script_module):
    """The values that the image's metric definitions find in a line."""
    names = script_module(SCRIPT, "metrics").NAMES
    definitions = [d for d in rules_of("1.7-1").metric_definitions if d["Name"] in names]
    return lambda line: {
        d["Name"]: float(re.search(d["Regex"], line.replace("\t", "#011")).group(1)) for d in definitions
    }


@pytest.fixture(scope="module")
def stopped_early(run, opt_ml, data_dir, tmp_path_factory):
    """A run in script mode that early stopping ends, reporting every fourth round."""
    base = tmp_path_factory.mktemp("stopped-early")
    channels = {part: data_dir / "breast-cancer" / f"{part}.csv" for part in ("train", "validation")}
    done = run(SCRIPT, *SETTINGS, "--seed", 1, cwd=base, env=opt_ml(base, **channels))
    assert done.returncode == 0, done.stderr
    return done, base


def test_every_kth_round_is_printed_and_read_by_the_definitions(stopped_early, read):
    done, base = stopped_early
    history = history_of(base)
    rounds = rounds_in(done.stdout)

    assert rounds[:-1] == list(range(0, len(history), 4))
    assert [{"epoch": n, **read(line)} for n, line in zip(rounds, lines_in(done.stdout), strict=True)] == [
        history[n] for n in rounds
    ]


def test_early_stopping_leaves_the_best_rounds_and_reports_them_last(stopped_early, read):
    done, base = stopped_early
    losses = [entry["validation:logloss"] for entry in history_of(base)]
    best = losses.index(min(losses))

    assert best < len(losses) - 1 < 399
    assert rounds_in(done.stdout)[-1] == best
    assert read(lines_in(done.stdout)[-1])["validation:logloss"] == min(losses)
    assert rounds_of(base / "model") == best + 1


def test_the_model_archive_predicts_with_the_reported_loss(stopped_early, script_module, data_dir, tmp_path):
    _, base = stopped_early
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(base / "model", arcname=".")
    with tarfile.open(tmp_path / "model.tar.gz") as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    table = np.loadtxt(data_dir / "breast-cancer" / "validation.csv", delimiter=",")
    labels, features = table[:, 0], table[:, 1:]
    serving = script_module(SCRIPT, "inference")
    shipped = (tmp_path / "unpacked" / "code" / "inference.py").read_text()

    probability = serving.predict_fn(features, serving.model_fn(str(tmp_path / "unpacked")))

    loss = -np.mean(labels * np.log(probability) + (1 - labels) * np.log(1 - probability))
    assert shipped == Path(serving.__file__).read_text()
    assert loss == pytest.approx(min(entry["validation:logloss"] for entry in history_of(base)), rel=1e-5)
    assert np.mean((probability > 0.5) == labels) > 0.9


def test_without_early_stopping_all_rounds_are_kept_and_the_last_is_reported(run, data_dir, tmp_path):
    channel = data_dir / "breast-cancer" / "train.csv"
    settings = ("--early_stopping_rounds", 0, "--num_round", 8, "--report_every", 3, "--train", channel)

    done = run(SCRIPT, *settings, cwd=tmp_path)

    assert rounds_in(done.stdout) == [0, 3, 6, 7], done.stderr
    assert rounds_of(tmp_path / "output" / SCRIPT / "model") == 8


def test_the_same_seed_gives_the_same_lines_and_another_seed_others(stopped_early, run, data_dir, tmp_path):
    channels = [
        word for part in ("train", "validation") for word in (f"--{part}", data_dir / f"breast-cancer/{part}.csv")
    ]

    again, other = (run(SCRIPT, *SETTINGS, *channels, "--seed", seed, cwd=tmp_path).stdout for seed in (1, 2))

    assert lines_in(stopped_early[0].stdout) == lines_in(again) != lines_in(other)


def test_sigterm_saves_the_rounds_so_far_and_exits_with_0(started, data_dir, tmp_path):
    args = ("--early_stopping_rounds", 0, "--num_round", 10**6, "--train", data_dir / "breast-cancer" / "train.csv")
    process = started(SCRIPT, *args, cwd=tmp_path)
    output = ""
    for line in process.stdout:
        output += line
        if line.startswith("[3]"):
            break
    process.send_signal(signal.SIGTERM)
    output += process.communicate(timeout=60)[0]

    assert process.returncode == 0, output
    assert 4 <= rounds_of(tmp_path / "output" / SCRIPT / "model") == rounds_in(output)[-1] + 1 < 10**6


def test_alone_it_trains_on_the_bundled_data_from_any_folder(run, tmp_path):
    done = run(SCRIPT, "--num_round", 3, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert history_of(tmp_path / "output" / SCRIPT)[-1]["validation:auc"] > 0.9


class TestData:
    @pytest.fixture
    def data(self, script_module):
        return script_module(SCRIPT, "data")

    def test_the_committed_files_part_the_bundled_data_as_the_script_does(self, data, data_dir):
        files = [data_dir / "breast-cancer" / f"{part}.csv" for part in ("train", "validation")]

        for from_file, bundled in zip(data.load(*files), data.load(None, None), strict=True):
            assert np.array_equal(from_file.labels, bundled.labels)
            assert np.allclose(from_file.features, bundled.features, rtol=1e-6)

    @pytest.mark.parametrize(
        ("train", "validation", "message"),
        [
            (None, "0,1\n1,2\n", "no .csv file"),
            ("label,x\n0,1\n", "0,1\n1,2\n", "not a CSV of numbers without a header"),
            ("0\n1\n", "0,1\n1,2\n", "the same number of columns, at least 2"),
            ("0,1\n2,2\n", "0,1\n1,2\n", "the train labels, in the first column, must be 0 and 1"),
            ("0,1\n1,2\n", "1,1\n1,2\n", "the validation labels, in the first column, must be 0 and 1"),
            ("0,1\n1,2\n", "0,1,3\n1,2,4\n", "train has 1 features, but validation has 2"),
        ],
    )
    def test_files_that_do_not_fit_are_refused(self, data, tmp_path, train, validation, message):
        for name, text in (("train", train), ("validation", validation)):
            (tmp_path / name).mkdir()
            if text is not None:
                (tmp_path / name / "part.csv").write_text(text)

        with pytest.raises(data.DataError, match=message):
            data.load(tmp_path / "train", tmp_path / "validation")
