"""The built-in XGBoost: trains a model in the folder ``SAGEMAKER_BASE_DIR``, as the algorithm's container does.

The argument is the tag of the image, by default that of the newest one, whose rules for hyperparameters apply.
Reads ``input/config`` and ``input/data/{train,validation}``, prints the container's metric lines, and writes
``model/xgboost-model`` or, after a failure, ``output/failure``. With early stopping, the model is that of the best
round. If ``checkpoints/`` exists, each round writes a checkpoint there, and training resumes from the last.

The model is written as UBJSON, which XGBoost 1.6 and later load; containers from version 1.0 on load it with
``Booster.load_model`` too. (Containers before 1.3 wrote a pickle, and 1.3 to 2.x a binary form that today's library
cannot write.)
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # The library imports scikit-learn, if installed, for wrappers that are not used here. That would take two thirds of
    # the start of a trial.
    sys.modules["sklearn"] = None  # type: ignore[assignment]

import numpy as np
import xgboost as xgb

from sm_tuning._files import write_atomic
from sm_tuning._wire import OBJECTIVE_KEY
from sm_tuning.executor.algorithms import _xgboost_custom as custom
from sm_tuning.executor.algorithms import _xgboost_data as data
from sm_tuning.executor.algorithms._xgboost_data import UserError
from sm_tuning.executor.algorithms._xgboost_parameters import ALIASES, MAXIMIZE, Rules, Value, metric_line, rules_of

_MODEL = "xgboost-model"
_CHECKPOINT = "xgboost-checkpoint"
_KEPT_CHECKPOINTS = 5
_CHANNELS = ("train", "validation", "code")
_GONE = ("silent", "single_precision_histogram", "use_dask_gpu_training")


def main(argv: list[str]) -> int:
    """Train; return the exit code of the process."""
    rules = rules_of(argv[0] if argv else "")
    base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
    try:
        train(base, rules)
    except UserError as e:
        message = str(e)
    except xgb.core.XGBoostError as e:
        # The library appends its stack of C++ frames.
        message = f"XGB train call failed with exception:\n{str(e).split('Stack trace:', 1)[0].strip()}"
    else:
        return 0
    _log(message, level="ERROR")
    output = base / "output"
    output.mkdir(parents=True, exist_ok=True)
    (output / "failure").write_text(message, encoding="utf-8")
    return 1


def _log(message: str, level: str = "INFO") -> None:
    print(f"[{time.strftime('%Y-%m-%d:%H:%M:%S')}:{level}] {message}", flush=True)


def train(base: Path, rules: Rules) -> None:
    """Run the training job.

    Raises:
        UserError: hyperparameters or data are invalid.
        xgboost.core.XGBoostError: the library refuses them.
    """
    _log("Running XGBoost Sagemaker in algorithm mode")
    config = base / "input" / "config"
    given = json.loads((config / "hyperparameters.json").read_text(encoding="utf-8"))
    values, wrong = rules.validate(given)
    if wrong:
        raise UserError("\n".join(wrong))
    unused = sorted(name for name in given if ALIASES.get(name, name) not in values)
    if unused:
        _log(f"These hyperparameters are not used on this machine: {', '.join(unused)}", level="WARNING")
    matrices = _matrices(base, json.loads((config / "inputdataconfig.json").read_text(encoding="utf-8")), values)
    _log("Single node training.")
    _log(f"Train matrix has {matrices[0][0].num_row()} rows and {matrices[0][0].num_col()} columns")
    for matrix, _ in matrices[1:]:
        _log(f"Validation matrix has {matrix.num_row()} rows")
    booster = _boost(base, values, matrices)
    _save(booster, base / "model" / _MODEL)


def _matrices(base: Path, channels: dict[str, Any], values: dict[str, Value]) -> list[tuple[xgb.DMatrix, str]]:
    """Return the matrix and the name of each data channel, training first."""
    extraneous = sorted(set(channels) - set(_CHANNELS))
    if extraneous:
        raise UserError(f"Extraneous channel found: {', '.join(extraneous)}")
    if "train" not in channels:
        raise UserError("Missing required channel: train")
    tables: dict[str, data.Data] = {}
    for name in ("train", *(("validation",) if "validation" in channels else ())):
        if channels[name].get("TrainingInputMode") == "Pipe":
            raise UserError(f"Channel {name!r} is in Pipe mode, which is no longer supported: use File or FastFile.")
        path = base / "input" / "data" / name
        form = data.format_of(channels[name].get("ContentType"))
        table = data.read(path, form, csv_weights=values.get("csv_weights") == 1)
        if table is None:
            kind = "training" if name == "train" else name
            raise UserError(f"No data in {kind} channel path {path}")
        tables[name] = table
    width = max(table.features.shape[1] for table in tables.values())
    matrices: list[tuple[xgb.DMatrix, str]] = []
    for name, table in tables.items():
        features = table.features
        if not isinstance(features, np.ndarray):
            features.resize((features.shape[0], width))  # columns that only the other channel has are missing values
        elif features.shape[1] != width:
            raise UserError(f"The train and validation channels have {features.shape[1]} and {width} features.")
        threads = values.get("nthread", -1)
        matrix = xgb.DMatrix(features, label=table.labels, weight=table.weights, qid=table.groups, nthread=threads)
        matrices.append((matrix, name))
    return matrices


def _boost(base: Path, values: dict[str, Value], matrices: list[tuple[xgb.DMatrix, str]]) -> xgb.Booster:
    parameters = dict(values)
    rounds = parameters.pop("num_round")
    chosen, watched = _metrics_of(parameters)
    own = [name for name in chosen if name in custom.NAMES]
    objective = parameters.get("objective", "reg:squarederror")
    # The container's own ones, and those that today's library no longer has and whose meaning it does not need.
    for name in ("csv_weights", "save_model_on_termination", OBJECTIVE_KEY, "eval_metric", *_GONE):
        parameters.pop(name, None)
    patience = parameters.pop("early_stopping_rounds", None)
    if "updater" in parameters:
        parameters["updater"] = ",".join(parameters["updater"])
    if objective == "reg:linear":
        parameters["objective"] = "reg:squarederror"  # the library's name for it since 0.83
    if library := [name for name in chosen if name not in custom.NAMES]:
        parameters["eval_metric"] = library

    def feval(predictions: np.ndarray[Any, Any], matrix: xgb.DMatrix) -> list[tuple[str, float]]:
        try:
            return custom.evaluate(own, matrix.get_label(), predictions, objective)
        except ValueError as e:
            raise UserError(str(e)) from e

    model, done = _resume(base)
    callbacks = _callbacks(base, values, watched if len(matrices) > 1 else None, patience)
    return xgb.train(
        parameters,
        matrices[0][0],
        num_boost_round=max(rounds - done, 0),
        evals=matrices,
        custom_metric=feval if own else None,
        callbacks=callbacks,
        xgb_model=model,
        verbose_eval=False,
    )


def _metrics_of(values: dict[str, Value]) -> tuple[list[str], str | None]:
    """Return the metrics to report, and the one that early stopping watches.

    The tuning job's objective is added to ``eval_metric``. Without either, the metric of the objective function is
    reported and none is watched.
    """
    requested = list(values.get("eval_metric", ()))
    tuned = values.get(OBJECTIVE_KEY)
    if tuned is None:
        return requested, requested[-1] if requested else None
    name = tuned.split(":", 1)[1]
    return sorted({*requested, name}), name


def _callbacks(
    base: Path, values: dict[str, Value], watched: str | None, patience: int | None
) -> list[xgb.callback.TrainingCallback]:
    callbacks: list[xgb.callback.TrainingCallback] = [_Report()]
    if (base / "checkpoints").is_dir():
        callbacks.append(_Checkpoint(base / "checkpoints"))
    if values.get("save_model_on_termination") == "true":
        callbacks.append(_SaveEachRound(base / "model" / _MODEL))
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # the model of the last complete round is on disk
    if patience and watched:
        callbacks.append(
            xgb.callback.EarlyStopping(
                rounds=patience,
                metric_name=watched,
                data_name="validation",
                maximize=watched.split("@")[0] in MAXIMIZE,
                save_best=True,
            )
        )
    elif patience:
        _log("early_stopping_rounds has no effect without a validation channel and a metric", level="WARNING")
    return callbacks


class _Report(xgb.callback.TrainingCallback):  # type: ignore[misc]
    """Prints a line for each round."""

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002
        values = [(segment, name, history[-1]) for segment, log in evals_log.items() for name, history in log.items()]
        # The model counts its rounds, so that the numbers continue after a resume.
        print(metric_line(model.num_boosted_rounds() - 1, values), flush=True)
        return False


class _Checkpoint(xgb.callback.TrainingCallback):  # type: ignore[misc]
    """Writes ``xgboost-checkpoint.<round>`` after each round, and keeps the last five."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002
        done = model.num_boosted_rounds() - 1
        _save(model, self._folder / f"{_CHECKPOINT}.{done}")
        (self._folder / f"{_CHECKPOINT}.{done - _KEPT_CHECKPOINTS}").unlink(missing_ok=True)
        return False


class _SaveEachRound(xgb.callback.TrainingCallback):  # type: ignore[misc]
    """Writes the model after each round, so that a stopped job has one."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002
        _save(model, self._path)
        return False


def _resume(base: Path) -> tuple[xgb.Booster | None, int]:
    """Return the newest checkpoint and its number of rounds."""
    folder = base / "checkpoints"
    numbers = [
        int(match[1])
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := re.fullmatch(rf"{_CHECKPOINT}\.(\d+)", path.name))
    ]
    if not numbers:
        return None, 0
    path = folder / f"{_CHECKPOINT}.{max(numbers)}"
    booster = xgb.Booster()
    booster.load_model(bytearray(path.read_bytes()))
    _log(f"Checkpoint loaded from {path}")
    _log(f"Resuming from iteration {max(numbers) + 1}")
    return booster, max(numbers) + 1


def _save(booster: xgb.Booster, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, bytes(booster.save_raw("ubj")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
