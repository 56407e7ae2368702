"""The built-in XGBoost, trained for real in a process of its own below a temporary base directory."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from forks import run_program
from hypothesis import given
from hypothesis import strategies as st
from later import Later

from sm_tuning._images import is_builtin_image
from sm_tuning.executor.algorithms import algorithm_for
from sm_tuning.executor.algorithms._xgboost_custom import evaluate
from sm_tuning.executor.algorithms._xgboost_parameters import MAXIMIZE, METRIC_DEFINITIONS, MINIMIZE, metric_line

datasets, reference, xgb = Later("sklearn.datasets"), Later("sklearn.metrics"), Later("xgboost")
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
REGRESSION = {"num_round": "5", "objective": "reg:squarederror", "eta": "0.3"}
TRAIN = "import runpy; runpy.run_module('sm_tuning.executor.algorithms.xgboost_train', run_name='__main__')"
NO_RANGES: dict = {}


class Job:
    """One training job's folder and what came out of it."""

    def __init__(self, base: Path, hyperparameters: dict, content_type: str | None = "text/csv") -> None:
        self.base = base
        self.hyperparameters = hyperparameters
        self.content_type = content_type
        self.channels: dict = {}
        self.tag = "1.7-1"

    def channel(self, name: str, files: dict[str, str | bytes]) -> Job:
        folder = self.base / "input" / "data" / name
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(text.encode() if isinstance(text, str) else text)
        self.channels[name] = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}
        if self.content_type:
            self.channels[name]["ContentType"] = self.content_type
        return self

    def write(self) -> None:
        config = self.base / "input" / "config"
        config.mkdir(parents=True, exist_ok=True)
        (config / "hyperparameters.json").write_text(json.dumps(self.hyperparameters))
        (config / "inputdataconfig.json").write_text(json.dumps(self.channels))

    def command(self) -> dict:
        return {
            "args": [sys.executable, "-c", TRAIN, self.tag],
            "env": {**os.environ, "SAGEMAKER_BASE_DIR": str(self.base), "OMP_NUM_THREADS": "1"},
            "cwd": self.base,
        }

    def run(self) -> Job:
        self.write()
        done = run_program(**self.command(), preload="training", timeout=60)
        self.code, self.log, self.errors = done.returncode, done.stdout.replace("\t", "#011"), done.stderr
        failure = self.base / "output" / "failure"
        self.failure = failure.read_text() if failure.exists() else ""
        return self

    def values(self, metric: str) -> list[float]:
        """What the metric's own definition reads from the log."""
        (regex,) = [d["Regex"] for d in METRIC_DEFINITIONS if d["Name"] == metric]
        return [float(m[1]) for m in map(re.compile(regex).search, self.log.splitlines()) if m]

    def model(self) -> xgb.Booster:
        booster = xgb.Booster()
        booster.load_model(bytearray((self.base / "model" / "xgboost-model").read_bytes()))
        return booster


def as_csv(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> str:
    columns = [y] if weights is None else [y, weights]
    return "\n".join(",".join(repr(float(v)) for v in row) for row in np.column_stack([*columns, x])) + "\n"


def as_libsvm(x: np.ndarray, y: np.ndarray) -> str:
    rows = (" ".join(f"{j}:{v!r}" for j, v in enumerate(row.tolist()) if v) for row in x)
    return "".join(f"{label!r} {row}\n" for label, row in zip(y.tolist(), rows, strict=True))


@pytest.fixture(scope="module")
def diabetes() -> tuple[np.ndarray, np.ndarray]:
    return datasets.load_diabetes(return_X_y=True)


def regression(base: Path, diabetes: tuple, **more: str) -> Job:
    x, y = diabetes
    job = Job(base, {**REGRESSION, **more})
    return job.channel("train", {"a.csv": as_csv(x[:300], y[:300])}).channel(
        "validation", {"v.csv": as_csv(x[300:], y[300:])}
    )


@pytest.mark.usefixtures("processes")
class TestTraining:
    def test_it_prints_the_metric_of_every_round_and_saves_a_model_that_predicts(self, tmp_path, diabetes):
        job = regression(tmp_path, diabetes).run()
        assert job.code == 0, job.log + job.errors
        rounds = [text for text in job.log.splitlines() if re.match(r"\[\d+\]#011", text)]
        assert len(rounds) == 5
        assert re.fullmatch(r"\[0\]#011train-rmse:\d+\.\d{5}#011validation-rmse:\d+\.\d{5}", rounds[0])
        x, y = diabetes
        rmse = np.sqrt(np.mean((job.model().predict(xgb.DMatrix(x[300:])) - y[300:]) ** 2))
        assert job.values("validation:rmse")[-1] == pytest.approx(rmse, abs=1e-4)
        assert "Train matrix has 300 rows and 10 columns" in job.log

    @pytest.mark.parametrize(
        ("tag", "more", "unused"),
        [
            ("1.0-1", {"silent": "0"}, ""),
            ("1", {"silent": "1", "prob_buffer_row": "1.0", "own": "x"}, "own, prob_buffer_row"),
        ],
    )
    def test_an_older_container_takes_what_it_took(self, tmp_path, diabetes, tag, more, unused):
        job = regression(tmp_path, diabetes, **more)
        job.tag = tag
        assert job.run().code == 0, job.failure
        assert len(job.values("validation:rmse")) == 5
        assert (f"not used on this machine: {unused}" in job.log) == bool(unused)

    def test_the_tuning_objective_is_reported_beside_eval_metric(self, tmp_path, diabetes):
        job = regression(tmp_path, diabetes, eval_metric="mae", _tuning_objective_metric="validation:r2").run()
        assert job.code == 0, job.failure
        assert len(job.values("validation:r2")) == len(job.values("train:mae")) == 5

    def test_early_stopping_keeps_the_best_round(self, tmp_path, diabetes):
        more = {"num_round": "200", "early_stopping_rounds": "3", "eval_metric": "rmse", "eta": "0.9"}
        job = regression(tmp_path, diabetes, **more).run()
        values = job.values("validation:rmse")
        best = int(np.argmin(values))
        assert len(values) == best + 4 < 200
        assert job.model().num_boosted_rounds() == best + 1

    def test_binary_metrics_of_its_own_agree_with_scikit_learn(self, tmp_path):
        x, y = datasets.load_breast_cancer(return_X_y=True)
        names = ["accuracy", "balanced_accuracy", "f1", "f1_binary", "precision", "recall", "auc"]
        job = Job(
            tmp_path,
            {"num_round": "2", "objective": "binary:logistic", "max_depth": "1"} | {"eval_metric": ",".join(names)},
        )
        job.channel("train", {"t.csv": as_csv(x[::2], y[::2])}).channel(
            "validation", {"v.csv": as_csv(x[1::2], y[1::2])}
        )
        assert job.run().code == 0, job.failure
        predicted = job.model().predict(xgb.DMatrix(x[1::2]))
        truth, labels = y[1::2], predicted > 0.5
        expected = {
            "accuracy": reference.accuracy_score(truth, labels),
            "balanced_accuracy": reference.balanced_accuracy_score(truth, labels),
            "f1": reference.f1_score(truth, labels, average="macro"),
            "f1_binary": reference.f1_score(truth, labels),
            "precision": reference.precision_score(truth, labels),
            "recall": reference.recall_score(truth, labels),
            "auc": reference.roc_auc_score(truth, predicted),
        }
        assert {n: job.values(f"validation:{n}")[-1] for n in names} == pytest.approx(expected, abs=1e-4)

    @pytest.mark.parametrize("objective", ["multi:softmax", "multi:softprob"])
    def test_several_classes_train_with_either_objective(self, tmp_path, objective):
        x, y = datasets.load_iris(return_X_y=True)
        job = Job(
            tmp_path,
            {"num_round": "3", "objective": objective, "num_class": "3"}
            | {"eval_metric": "mlogloss,accuracy,f1_macro" if objective == "multi:softprob" else "merror,accuracy"},
        )
        assert job.channel("train", {"t.csv": as_csv(x, y)}).run().code == 0, job.failure
        assert job.values("train:accuracy")[-1] > 0.9
        assert job.values("validation:accuracy") == []

    def test_libsvm_is_the_format_without_a_content_type_and_equals_csv(self, tmp_path, diabetes):
        x, y = diabetes
        sparse = Job(tmp_path / "a", REGRESSION, None).channel("train", {"t.libsvm": as_libsvm(x, y)}).run()
        dense = Job(tmp_path / "b", REGRESSION).channel("train", {"t.csv": as_csv(x, y)}).run()
        assert sparse.code == dense.code == 0, sparse.failure + dense.failure
        assert sparse.values("train:rmse") == pytest.approx(dense.values("train:rmse"), abs=1e-3)

    def test_parquet_equals_csv(self, tmp_path, diabetes):
        parquet = pytest.importorskip("pyarrow.parquet")
        import pyarrow as pa

        x, y = diabetes
        table = pa.table({f"c{j}": column for j, column in enumerate(np.column_stack([y, x]).T)})
        job = Job(tmp_path / "a", REGRESSION, "application/x-parquet").channel("train", {})
        parquet.write_table(table, tmp_path / "a" / "input" / "data" / "train" / "t.parquet")
        dense = Job(tmp_path / "b", REGRESSION).channel("train", {"t.csv": as_csv(x, y)}).run()
        assert job.run().values("train:rmse") == dense.values("train:rmse") != []

    def test_files_in_folders_are_one_channel_and_markers_are_no_data(self, tmp_path, diabetes):
        x, y = diabetes
        files = {
            "a.csv": as_csv(x[:100], y[:100]),
            "deep/er/b.csv": as_csv(x[100:], y[100:]),
            "_SUCCESS": "",
            ".hidden": "not,data",
        }
        job = Job(tmp_path, REGRESSION, "text/csv; charset=utf-8").channel("train", files).run()
        assert "Train matrix has 442 rows and 10 columns" in job.log

    def test_the_second_column_is_the_weight_where_csv_weights_is_set(self, tmp_path, diabetes):
        x, y = diabetes
        weights = np.where(y > 100, 10.0, 0.1)
        job = Job(tmp_path, {**REGRESSION, "csv_weights": "1"})
        job.channel("train", {"t.csv": as_csv(x, y, weights)}).run()
        assert "442 rows and 10 columns" in job.log
        residual = (job.model().predict(xgb.DMatrix(x)) - y) ** 2
        assert job.values("train:rmse")[-1] == pytest.approx(np.sqrt(np.average(residual, weights=weights)), rel=1e-4)

    def test_empty_fields_are_missing_values(self, tmp_path):
        text = "".join(f"{i % 2},{'' if i % 3 else i},{i}\n" for i in range(60))
        job = Job(tmp_path, {"num_round": "1"}).channel("train", {"t.csv": text}).run()
        assert job.code == 0, job.failure

    def test_a_checkpoint_is_resumed_and_the_count_goes_on(self, tmp_path, diabetes):
        (tmp_path / "checkpoints").mkdir()
        first = regression(tmp_path, diabetes, num_round="3").run()
        second = regression(tmp_path, diabetes, num_round="8").run()
        whole = regression(tmp_path / "whole", diabetes, num_round="8").run()
        assert second.log.count("[3]#011") == 1
        assert "[2]#011" not in second.log
        assert first.values("train:rmse") + second.values("train:rmse") == pytest.approx(
            whole.values("train:rmse"), abs=1e-3
        )
        assert len(list((tmp_path / "checkpoints").iterdir())) == 5

    def test_a_stopped_job_leaves_its_last_model_when_asked_to(self, tmp_path, diabetes):
        job = regression(tmp_path, diabetes, num_round="1000000", save_model_on_termination="true")
        job.write()
        with subprocess.Popen(**job.command(), text=True, stdout=subprocess.PIPE) as process:
            for text in process.stdout:
                if text.startswith("[4]"):  # so the round before is on disk
                    process.send_signal(signal.SIGTERM)
                    break
            process.stdout.read()
        assert process.returncode == 0
        assert job.model().num_boosted_rounds() >= 4


@pytest.mark.usefixtures("processes")
class TestFailures:
    @pytest.mark.parametrize(
        ("files", "content_type", "words"),
        [
            ({"t.csv": "age,income\n1,2\n"}, "text/csv", "without a header"),
            ({"t.csv": "1,2,3\n1,2\n"}, "text/csv", "Line 2 of file 't.csv' has 2 columns"),
            ({"t.csv": "1\n2\n"}, "text/csv", "Could not determine delimiter"),
            ({"a.csv": "1,2\n", "b.csv": "1,2,3\n"}, "text/csv", "differ in their number of columns"),
            ({"t.csv": ",2\n1,3\n"}, "text/csv", "no label in row 1"),
            ({"t.csv": ""}, "text/csv", "No data in training channel"),
            ({}, "text/csv", "No data in training channel"),
            ({"t.csv": "1,2,3\n"}, None, "not 'LIBSVM' format"),
            ({"t.csv": "1,2,3\n"}, "application/json", "not an accepted ContentType"),
            ({"t.csv": "1,2,3\n"}, "text/csv; label_size=2", "label_size must be 1"),
            ({"t.parquet": b"PAR1 nonsense"}, "parquet", "Failed to load parquet data"),
        ],
    )
    def test_data_that_is_not_what_it_says_fails_in_words(self, tmp_path, files, content_type, words):
        job = Job(tmp_path, REGRESSION, content_type).channel("train", files).run()
        assert job.code == 1
        assert words in job.failure
        assert "Traceback" not in job.errors
        assert not (tmp_path / "model").exists()

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            ({"no_such": "1"}, "Extraneous hyperparameter found: no_such"),
            ({"eta": "1.5"}, "Hyperparameter eta: 1.5 is not in [0, 1]"),
            ({"max_depth": "2.5"}, "Hyperparameter max_depth: could not parse value '2.5' as an integer"),
            ({"objective": "reg:logistic"}, "must be in (0,1) for the logistic loss"),
        ],
    )
    def test_hyperparameters_that_it_cannot_take_fail_in_words(self, tmp_path, diabetes, more, words):
        job = regression(tmp_path, diabetes, **more).run()
        assert job.code == 1
        assert words in job.failure
        assert "Traceback" not in job.errors

    def test_a_metric_of_two_classes_on_three_fails_in_words(self, tmp_path):
        x, y = datasets.load_iris(return_X_y=True)
        hyperparameters = {"num_round": "1", "objective": "multi:softprob", "num_class": "3"}
        job = Job(tmp_path, {**hyperparameters, "eval_metric": "f1_binary"})
        assert "Target is multiclass" in job.channel("train", {"t.csv": as_csv(x, y)}).run().failure


class TestRegistry:
    @pytest.mark.parametrize(
        "image",
        [
            IMAGE,
            IMAGE.replace("683313688378", "811284229777").replace("sagemaker-xgboost:1.7-1", "xgboost:1"),
            IMAGE.split(":", maxsplit=1)[0],
        ],
    )
    def test_xgboost_is_known_by_its_repository(self, image):
        algorithm = algorithm_for(image)
        assert algorithm is not None
        assert algorithm.name == "xgboost"
        assert is_builtin_image(image)

    def test_another_built_in_is_known_but_not_trainable(self):
        image = "382416733822.dkr.ecr.us-east-1.amazonaws.com/linear-learner:1"
        assert is_builtin_image(image)
        assert algorithm_for(image) is None

    @pytest.mark.parametrize(
        "image", ["763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.4-cpu-py311", "my/xgboost:1", ""]
    )
    def test_any_other_image_is_no_built_in(self, image):
        assert not is_builtin_image(image)
        assert algorithm_for(image) is None

    @pytest.mark.parametrize("direction", [MAXIMIZE, MINIMIZE])
    def test_every_metric_has_a_definition_for_both_segments(self, direction):
        names = {d["Name"] for d in algorithm_for(IMAGE).metric_definitions}
        assert {f"{segment}:{name}" for name in direction for segment in ("train", "validation")} <= names

    @given(
        value=st.one_of(st.sampled_from([12.5, 1e-05, -3.25, 0.0, 1e22]), st.floats(-1e9, 1e9, allow_nan=False)),
        name=st.sampled_from(sorted(MAXIMIZE + MINIMIZE)),
        other=st.sampled_from(["logloss", "mae", "map"]),
    )
    def test_a_definition_reads_back_what_the_line_says(self, value, name, other):
        text = metric_line(7, [("train", other, 1.0), ("validation", name, value), ("validation", "zz", 2.0)])
        (regex,) = [d["Regex"] for d in METRIC_DEFINITIONS if d["Name"] == f"validation:{name}"]
        assert float(re.search(regex, text.replace("\t", "#011"))[1]) == pytest.approx(value, abs=5.1e-6)

    @given(value=st.floats(allow_nan=False, allow_infinity=False))
    def test_a_definition_reads_any_float_that_python_writes(self, value):
        (regex,) = [d["Regex"] for d in METRIC_DEFINITIONS if d["Name"] == "validation:rmse"]
        assert float(re.search(regex, f"[3]#011train-rmse:0.5#011validation-rmse:{value!r}")[1]) == value


class TestCheck:
    def problems(self, static: dict, **ranges: list) -> list[str]:
        return algorithm_for(IMAGE).rules.problems(static, ranges)

    def test_good_hyperparameters_have_no_problems(self):
        ranges = {
            "ContinuousParameterRanges": [{"Name": "learning_rate", "MinValue": "0.01", "MaxValue": "0.5"}],
            "IntegerParameterRanges": [{"Name": "num_round", "MinValue": "10", "MaxValue": "100"}],
            "CategoricalParameterRanges": [{"Name": "tree_method", "Values": ["hist", "exact"]}],
        }
        static = {"objective": "binary:logistic", "eval_metric": "auc,error@0.7", "monotone_constraints": "(1,-1)"}
        assert self.problems(static, **ranges) == []

    def test_num_round_is_required(self):
        assert self.problems({}) == ["Missing required hyperparameter: num_round"]

    @pytest.mark.parametrize(
        ("static", "words"),
        [
            ({"objective": "multi:softmax"}, "num_class"),
            ({"eval_metric": "auc"}, "classification and ranking"),
            ({"eval_metric": "no_such"}, "'no_such' is not in"),
            ({"eval_metric": "rmse@1"}, "only error, map and ndcg"),
            ({"_tuning_objective_metric": "validation:loss"}, "_tuning_objective_metric"),
            ({"monotone_constraints": "(1,2)", "tree_method": "hist"}, "monotone_constraints"),
            ({"interaction_constraints": "[[0, 1]]"}, "needs tree_method"),
            ({"updater": "grow_colmaker,grow_histmaker"}, "only one updater may grow"),
            ({"booster": "gblinear", "updater": "prune"}, "gblinear takes one updater"),
            ({"subsample": "0"}, "(0, 1]"),
            ({"eta": "nan"}, "eta"),
            ({"tree_method": "gpu"}, "gpu"),
        ],
    )
    def test_each_broken_rule_is_one_sentence(self, static, words):
        (problem,) = self.problems({"num_round": "1", **static})
        assert words in problem

    def test_the_ends_of_a_range_and_each_choice_are_checked(self):
        wrong = self.problems(
            {"num_round": "1"},
            ContinuousParameterRanges=[
                {"Name": "eta", "MinValue": "0.1", "MaxValue": "2"},
                {"Name": "max_depth", "MinValue": "1", "MaxValue": "3"},
            ],
            CategoricalParameterRanges=[{"Name": "booster", "Values": ["gbtree", "forest"]}],
        )
        assert len(wrong) == 3
        assert "eta: 2 is not in [0, 1]" in wrong[0]
        assert "forest" in wrong[1]
        assert "integer range" in wrong[2]


class TestOwnMetrics:
    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40))
    def test_metrics_of_classes_agree_with_scikit_learn(self, pairs):
        truth, guess = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
        ours = dict(
            evaluate(
                ["accuracy", "f1_macro", "precision_macro", "recall_macro", "precision_micro", "recall_micro"],
                truth,
                guess,
                "multi:softmax",
            )
        )
        macro, micro = {"average": "macro", "zero_division": 0}, {"average": "micro", "zero_division": 0}
        assert ours == pytest.approx(
            {
                "accuracy": reference.accuracy_score(truth, guess),
                "f1_macro": reference.f1_score(truth, guess, **macro),
                "precision_macro": reference.precision_score(truth, guess, **macro),
                "recall_macro": reference.recall_score(truth, guess, **macro),
                "precision_micro": reference.precision_score(truth, guess, **micro),
                "recall_micro": reference.recall_score(truth, guess, **micro),
            }
        )

    def test_a_raw_margin_is_positive_above_zero(self):
        labels, margins = np.array([0.0, 1.0, 1.0]), np.array([-0.2, 0.2, 0.4])
        assert evaluate(["accuracy"], labels, margins, "binary:logitraw") == [("accuracy", 1.0)]
        assert evaluate(["r2"], labels, labels, "reg:squarederror") == [("r2", 1.0)]
