"""The built-in XGBoost as a server, by version: rules of aws/sagemaker-xgboost-container in algorithm mode."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from sm_tuning.executor.algorithms._xgboost_data import UserError, parse_libsvm
from sm_tuning.executor.serving._types import Answer, Invocation

Array = NDArray[np.float64]

CSV, JSON, JSONLINES = "text/csv", "application/json", "application/jsonlines"
LIBSVM = ("text/libsvm", "text/x-libsvm")
_ROWS_SINCE = (1, 2, 2)  # from this version on, CSV has a row a line
_SHIFT_SINCE = (3, 0, 0)  # from this version on, indices of libsvm that begin at 1 are shifted
_SNIFFED = 512
_VOTES = ("multi:softmax", "binary:hinge")
_PAYLOAD_MB = 6
_SMALL = 10_000  # values


class RefusedError(Exception):
    """A request that the container answers with an error.

    Args:
        status: of HTTP.
        message: the body of the response.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class XGBoostHandler:
    """Models of the built-in XGBoost.

    Args:
        version: of the image.
        environ: variables of the container.
    """

    def __init__(self, version: tuple[int, int, int], environ: Mapping[str, str]) -> None:
        self._version = version
        self._batch = environ.get("SAGEMAKER_BATCH") == "true"
        self._accept = environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", CSV)
        self._ensemble = environ.get("SAGEMAKER_INFERENCE_ENSEMBLE", "true") == "true"
        selected = environ.get("SAGEMAKER_INFERENCE_OUTPUT", "")
        self._selected = [key.strip().lower() for key in selected.split(",") if key.strip()]
        self._boosters: list[xgb.Booster] = []
        self._objective = ""

    def load(self, model_dir: Path) -> None:
        """Load the model files at the top of the folder: all of them, or the first without an ensemble.

        Raises:
            UserError: there is no model, or a file is not a model.
        """
        paths = sorted(path for path in model_dir.iterdir() if path.is_file() and not path.name.startswith("."))
        if not paths:
            raise UserError(f"No model file is in {model_dir}")
        self._boosters = [_booster(path) for path in (paths if self._ensemble else paths[:1])]
        config = json.loads(self._boosters[0].save_config())
        self._objective = config["learner"]["objective"]["name"]

    def execution_parameters(self) -> Mapping[str, Any]:
        """Return the settings for batch transform: a request for each CPU."""
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return {"MaxConcurrentTransforms": cpus, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": _PAYLOAD_MB}

    def answer(self, request: Invocation) -> Answer:
        """Return the predictions of a request."""
        if not request.body:
            return Answer(204, b"")
        try:
            predictions = self._predict(self._parse(request))
            accept = self._accept_of(request.accept)
            return Answer(200, self._encode(predictions, accept).encode(), accept)
        except RefusedError as e:
            sys.stdout.write(f"{e}\n")
            return Answer(e.status, str(e).encode(), "text/html; charset=utf-8")

    # -- the request

    def _parse(self, request: Invocation) -> Any:
        kind = (request.content_type or "").split(";", 1)[0].strip().lower()
        try:
            text = request.body.decode("utf-8")
            if kind == CSV:
                return csv_rows(text)
            if kind in ("", *LIBSVM):
                return self._libsvm(text)
        except (UserError, ValueError) as e:  # UnicodeDecodeError is a ValueError
            raise RefusedError(
                415,
                f"Loading {kind or 'libsvm'} data failed with Exception, please ensure data is in "
                f"{kind or 'libsvm'} format:\n {type(e)}\n {e}",
            ) from e
        raise RefusedError(415, f"Content-type {request.content_type} not supported.")

    def _libsvm(self, text: str) -> Any:
        matrix = parse_libsvm([("request", text.splitlines())]).features
        assert not isinstance(matrix, np.ndarray)
        if self._version >= _SHIFT_SINCE and matrix.nnz and matrix.indices.min() >= 1:
            matrix.indices -= 1
            matrix.resize((matrix.shape[0], matrix.shape[1] - 1))
        # Columns that a request leaves out at its end are missing values, as between its entries.
        wanted = self._boosters[0].num_features()
        if matrix.shape[1] < wanted:
            matrix.resize((matrix.shape[0], wanted))
        return matrix

    def _accept_of(self, given: str | None) -> str:
        accept = (given or "").split(";", 1)[0].strip().lower()
        accept = self._accept if accept in ("", "*/*") else accept
        known = (CSV, JSON, JSONLINES)
        if accept not in known:
            raise RefusedError(
                406, f"Accept type {accept} is not supported. Please use supported accept types: {', '.join(known)}."
            )
        return accept

    # -- the predictions

    def _predict(self, features: Any) -> Array:
        wanted, found = self._boosters[0].num_features(), features.shape[1]
        if found != wanted:
            raise RefusedError(
                400,
                f"Unable to evaluate payload provided: Feature size of inference data {found} is not consistent with "
                f"feature size of trained model {wanted}.",
            )
        # Threads cost more than they save for a few rows.
        threads = 1 if features.shape[0] * wanted < _SMALL else None
        matrix = xgb.DMatrix(features, nthread=threads)
        try:
            found = [booster.predict(matrix, validate_features=False) for booster in self._boosters]
        except xgb.core.XGBoostError as e:
            raise RefusedError(400, f"Unable to evaluate payload provided: {e}") from e
        if len(found) == 1:
            return np.asarray(found[0])
        if self._objective in _VOTES:
            votes = np.stack(found)
            classes = np.unique(votes)
            return np.asarray(classes[np.argmax([(votes == value).sum(axis=0) for value in classes], axis=0)])
        return np.asarray(np.mean(found, axis=0))

    def _encode(self, predictions: Array, accept: str) -> str:
        rows = predictions.tolist()
        if self._selected:
            return self._encode_selected(rows, accept)
        if self._batch:
            return "\n".join(map(str, rows)) + "\n"
        if accept == JSON:
            return json.dumps({"predictions": [{"score": row} for row in rows]})
        if accept == JSONLINES:
            return "".join(json.dumps({"score": row}) + "\n" for row in rows)
        lines = [",".join(map(str, row)) if isinstance(row, list) else str(row) for row in rows]
        return "\n".join(lines) + "\n" if self._version >= _ROWS_SINCE else ",".join(lines)

    def _encode_selected(self, rows: Sequence[Any], accept: str) -> str:
        objects = [{key: self._selected_value(key, row) for key in self._selected} for row in rows]
        if accept == JSON:
            return json.dumps({"predictions": objects})
        if accept == JSONLINES:
            return "".join(json.dumps(item) + "\n" for item in objects)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(
            [json.dumps(value) if isinstance(value, list) else value for value in item.values()] for item in objects
        )
        return text.getvalue()

    def _selected_value(self, key: str, row: Any) -> Any:
        """Return a value of SAGEMAKER_INFERENCE_OUTPUT; NaN if the objective does not have it."""
        classify = self._objective.startswith(("binary:", "multi:"))
        values: dict[str, Callable[[], Any]] = {} if classify else {"predicted_score": lambda: row}
        if classify:
            several = isinstance(row, list)
            values = {
                "predicted_label": lambda: self._label(row),
                "labels": lambda: list(range(len(row))) if several else list(range(self._classes())),
                "raw_score": lambda: max(row) if several else row,
                "raw_scores": lambda: row if several else [1 - row, row],
            }
            if self._objective in ("binary:logistic", "multi:softprob"):
                values["probability"], values["probabilities"] = values["raw_score"], values["raw_scores"]
        return values[key]() if key in values else float("nan")

    def _label(self, row: Any) -> int:
        if isinstance(row, list):
            return int(np.argmax(row))
        if self._objective in _VOTES:
            return int(row)
        return int(row > (0.0 if self._objective == "binary:logitraw" else 0.5))

    def _classes(self) -> int:
        config = json.loads(self._boosters[0].save_config())
        return max(2, int(config["learner"]["learner_model_param"]["num_class"]))


def _booster(path: Path) -> xgb.Booster:
    booster = xgb.Booster()
    try:
        booster.load_model(bytearray(path.read_bytes()))
    except xgb.core.XGBoostError as e:
        # Images up to 1.2 and scripts write pickles. This is the model's own process, which may run its code.
        with suppress(Exception), path.open("rb") as file:
            found = pickle.load(file)  # noqa: S301
            return found.get_booster() if hasattr(found, "get_booster") else found
        raise UserError(f"Model file {path.name} cannot be loaded: {str(e).split('Stack trace', 1)[0].strip()}") from e
    return booster


def csv_rows(text: str) -> Array:
    """Return the features of CSV without labels; an empty field is a missing value.

    Raises:
        ValueError: a field is not a number, or the rows differ in length.
    """
    try:
        delimiter = csv.Sniffer().sniff(text[:_SNIFFED]).delimiter
    except csv.Error:
        delimiter = ","
    if delimiter.isalnum() or delimiter in ".+-":  # the guess for a single column of numbers
        delimiter = ","
    with suppress(ValueError):
        return np.loadtxt(io.StringIO(text), delimiter=delimiter, ndmin=2, comments=None, quotechar='"')
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    return np.array([[float(field) if field.strip() else np.nan for field in row] for row in rows], dtype=np.float64)
