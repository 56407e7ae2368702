"""The built-in XGBoost: trains one model below ``SAGEMAKER_BASE_DIR``, as the algorithm's container does.

Reads ``input/config`` and ``input/data/{train,validation}``, prints the container's metric lines, writes
``model/xgboost-model`` and, when it fails, ``output/failure``. With early stopping the model is the one of the best
round. ``checkpoints/``, where it exists, takes a checkpoint a round and is resumed from.

The model is written as UBJSON, which XGBoost 1.6 and later load; the containers from version 1.0 on load it with
``Booster.load_model`` too. (Containers before 1.3 wrote a pickle, and 1.3 to 2.x a binary form that today's library
can no longer write.)
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

if __name__ == "__main__":
    # The library imports scikit-learn when it is there, for wrappers that are not used here; that takes two
    # thirds of the time in which a trial starts.
    sys.modules["sklearn"] = None  # type: ignore[assignment]

import numpy as np
import xgboost as xgb

from sm_tuning._wire import OBJECTIVE_KEY
from sm_tuning.executor.algorithms import _xgboost_custom as custom
from sm_tuning.executor.algorithms import _xgboost_data as data
from sm_tuning.executor.algorithms import _xgboost_metrics as metrics
from sm_tuning.executor.algorithms._errors import UserError
from sm_tuning.executor.algorithms._xgboost_parameters import Value, validate

_MODEL = "xgboost-model"
_CHECKPOINT = "xgboost-checkpoint"
_KEPT_CHECKPOINTS = 5
_CHANNELS = ("train", "validation", "code")


def main() -> int:
    """Train; the exit code of the process."""
    base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
    try:
        train(base)
    except UserError as e:
        return _fail(base, str(e))
    except xgb.core.XGBoostError as e:
        return _fail(base, f"XGB train call failed with exception:\n{_first_lines(str(e))}")
    return 0


def _fail(base: Path, message: str) -> int:
    _log(message, level="ERROR")
    output = base / "output"
    output.mkdir(parents=True, exist_ok=True)
    (output / "failure").write_text(message, encoding="utf-8")
    return 1


def _first_lines(message: str) -> str:
    """An XGBoost error without its stack of C++ frames."""
    return message.split("Stack trace:", 1)[0].strip()


def _log(message: str, level: str = "INFO") -> None:
    print(f"[{time.strftime('%Y-%m-%d:%H:%M:%S')}:{level}] {message}", flush=True)


def train(base: Path) -> None:
    """Run the whole training job.

    Raises:
        UserError: hyperparameters or data that it cannot train on.
        xgboost.core.XGBoostError: what the library itself refuses.
    """
    _log("Running XGBoost Sagemaker in algorithm mode")
    config = base / "input" / "config"
    values, wrong = validate(json.loads((config / "hyperparameters.json").read_text(encoding="utf-8")))
    if wrong:
        raise UserError("\n".join(wrong))
    matrices = _matrices(base, json.loads((config / "inputdataconfig.json").read_text(encoding="utf-8")), values)
    _log("Single node training.")
    _log(f"Train matrix has {matrices[0][0].num_row()} rows and {matrices[0][0].num_col()} columns")
    for matrix, _ in matrices[1:]:
        _log(f"Validation matrix has {matrix.num_row()} rows")
    booster = _boost(base, values, matrices)
    _save(booster, base / "model" / _MODEL)


def _matrices(base: Path, channels: dict[str, Any], values: dict[str, Value]) -> list[tuple[xgb.DMatrix, str]]:
    """The matrix of each data channel, training first."""
    extraneous = sorted(set(channels) - set(_CHANNELS))
    if extraneous:
        raise UserError(f"Extraneous channel found: {', '.join(extraneous)}")
    if "train" not in channels:
        raise UserError("Missing required channel: train")
    names = [name for name in ("train", "validation") if name in channels]
    read = [(_channel(base, name, channels[name], values), name) for name in names]
    width = max(one.features.shape[1] for one, _ in read)
    return [(_matrix(one, width, values), name) for one, name in read]


def _channel(base: Path, name: str, config: dict[str, Any], values: dict[str, Value]) -> data.Data:
    if config.get("TrainingInputMode") == "Pipe":
        raise UserError(f"Channel {name!r} is in Pipe mode, which is no longer supported: use File or FastFile.")
    path = base / "input" / "data" / name
    form = data.format_of(config.get("ContentType"))
    found = data.read(path, form, csv_weights=values.get("csv_weights") == 1)
    if found is None:
        kind = "training" if name == "train" else name
        raise UserError(f"No data in {kind} channel path {path}")
    return found


def _matrix(one: data.Data, width: int, values: dict[str, Value]) -> xgb.DMatrix:
    features = one.features
    if isinstance(features, np.ndarray):
        if features.shape[1] != width:
            raise UserError(f"The train and validation channels have {features.shape[1]} and {width} features.")
    else:
        features.resize((features.shape[0], width))  # columns that only the other channel has are missing here
    return xgb.DMatrix(
        features, label=one.labels, weight=one.weights, qid=one.groups, nthread=values.get("nthread", -1)
    )


def _boost(base: Path, values: dict[str, Value], matrices: list[tuple[xgb.DMatrix, str]]) -> xgb.Booster:
    parameters = dict(values)
    rounds = parameters.pop("num_round")
    chosen, last = _metrics_of(parameters)
    own = [name for name in chosen if name in custom.NAMES]
    objective = parameters.get("objective", "reg:squarederror")
    for name in ("csv_weights", "save_model_on_termination", OBJECTIVE_KEY, "eval_metric"):
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
    callbacks = _callbacks(base, values, last if len(matrices) > 1 else None, patience)
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
    """Every metric to report, and the one that early stopping watches.

    The tuning job's objective is added to ``eval_metric``; without either the objective's own metric is reported
    and nothing is watched.
    """
    asked = list(values.get("eval_metric", ()))
    tuned = values.get(OBJECTIVE_KEY)
    if tuned is None:
        return asked, asked[-1] if asked else None
    name = tuned.split(":", 1)[1]
    return sorted({*asked, name}), name


def _callbacks(
    base: Path, values: dict[str, Value], watched: str | None, patience: int | None
) -> list[xgb.callback.TrainingCallback]:
    callbacks: list[xgb.callback.TrainingCallback] = [_Report()]
    if (base / "checkpoints").is_dir():
        callbacks.append(_Checkpoint(base / "checkpoints"))
    if values.get("save_model_on_termination") == "true":
        callbacks.append(_SaveEachRound(base / "model" / _MODEL))
        signal.signal(signal.SIGTERM, _leave)
    if patience and watched:
        callbacks.append(
            xgb.callback.EarlyStopping(
                rounds=patience,
                metric_name=watched,
                data_name="validation",
                maximize=watched.split("@")[0] in metrics.MAXIMIZE,
                save_best=True,
            )
        )
    elif patience:
        _log("early_stopping_rounds has no effect without a validation channel and a metric", level="WARNING")
    return callbacks


def _leave(_signal: int, _frame: FrameType | None) -> None:
    """End at once and well: the model of the last full round is on disk."""
    os._exit(0)


class _Report(xgb.callback.TrainingCallback):  # type: ignore[misc]
    """Prints one line a round; a resumed training carries the count on."""

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002
        values = [(segment, name, history[-1]) for segment, log in evals_log.items() for name, history in log.items()]
        print(metrics.line(model.num_boosted_rounds() - 1, values), flush=True)
        return False


class _Checkpoint(xgb.callback.TrainingCallback):  # type: ignore[misc]
    """Writes ``xgboost-checkpoint.<round>`` after each round and keeps the last five."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002
        done = model.num_boosted_rounds() - 1
        _save(model, self._folder / f"{_CHECKPOINT}.{done}")
        (self._folder / f"{_CHECKPOINT}.{done - _KEPT_CHECKPOINTS}").unlink(missing_ok=True)
        return False


class _SaveEachRound(xgb.callback.TrainingCallback):  # type: ignore[misc]
    """Keeps the model folder up to date, so that a stopped job leaves a model."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002
        _save(model, self._path)
        return False


def _resume(base: Path) -> tuple[xgb.Booster | None, int]:
    """The newest checkpoint and the rounds that it holds."""
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
    """Write the model whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(booster.save_raw("ubj"))
    part.replace(path)


if __name__ == "__main__":
    sys.exit(main())
