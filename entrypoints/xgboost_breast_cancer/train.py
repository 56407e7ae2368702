"""Train boosted trees on the breast cancer data; alone, or as a SageMaker training job in script mode.

    python entrypoints/xgboost_breast_cancer/train.py --eta 0.1

Prints one line a round, see metrics.py. On SIGTERM (a stop, early stopping, a spot interruption), it ends
the boosting after the current round, saves the model and exits with 0. It runs with XGBoost 1.7 and 3.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import arguments
import data
import inference
import metrics
import xgboost

if TYPE_CHECKING:
    Log = dict[str, dict[str, list[float]]]  # as recorded by XGBoost: data set -> metric -> one value a round

STOPPING_METRIC = "logloss"
# XGBoost's own parameters, by the names of the parsed arguments.
PARAMETERS = (
    "eta", "max_depth", "min_child_weight", "gamma", "subsample", "colsample_bytree", "reg_lambda", "reg_alpha",
    "grow_policy", "scale_pos_weight", "seed", "nthread",
)  # fmt: skip


class Report(xgboost.callback.TrainingCallback):
    """Prints the metrics of every k-th round, and ends the boosting after SIGTERM."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every = every
        self.printed = -1
        self.stop_requested = False

    def on_signal(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Handle the signal."""
        self.stop_requested = True

    def after_iteration(self, model: Any, epoch: int, evals_log: Log) -> bool:  # noqa: ARG002
        """Print, and return whether to stop; XGBoost counts rounds from 0."""
        if epoch % self.every == 0:
            self.show(epoch, evals_log)
        return self.stop_requested

    def show(self, epoch: int, evals_log: Log) -> None:
        """Print the metrics of a round."""
        print(metrics.line(epoch, **scores_of(evals_log, epoch)), flush=True)
        self.printed = epoch


def scores_of(evals_log: Log, epoch: int) -> dict[str, float]:
    """Return the metrics of one round by the names of metrics.py."""
    return {name: evals_log[name.split(":")[0]][name.split(":")[1]][epoch] for name in metrics.NAMES}


def boost(args: Namespace, report: Report) -> tuple[xgboost.Booster, Log]:
    """Train, and return the model and XGBoost's log; with early stopping, the model is cut after its best round.

    SageMaker uses the last reported value as the objective, so the last printed line is that of the model's last
    round: the objective is the score of the saved model.
    """
    train, validation = (xgboost.DMatrix(x, label=y) for x, y in data.load(args.train, args.validation))
    parameters = {name: getattr(args, name) for name in PARAMETERS}
    parameters["objective"] = "binary:logistic"
    parameters["eval_metric"] = [name.split(":")[1] for name in metrics.NAMES if name.startswith("train:")]
    callbacks: list[xgboost.callback.TrainingCallback] = [report]
    if args.early_stopping_rounds:
        rounds = args.early_stopping_rounds
        callbacks.append(
            xgboost.callback.EarlyStopping(rounds=rounds, metric_name=STOPPING_METRIC, data_name="validation")
        )
    log: Log = {}
    evals = [(train, "train"), (validation, "validation")]
    booster = xgboost.train(
        parameters, train, args.num_round, evals=evals, evals_result=log, callbacks=callbacks, verbose_eval=False
    )
    curve = log["validation"][STOPPING_METRIC]
    last = curve.index(min(curve)) if args.early_stopping_rounds else len(curve) - 1
    if last != report.printed:
        report.show(last, log)
    return booster[: last + 1], log


def save(booster: xgboost.Booster, log: Log, args: Namespace) -> None:
    """Write the model, the code that serves it, and the metrics of all rounds."""
    code = args.model_dir / "code"
    code.mkdir(parents=True, exist_ok=True)
    booster.save_model(str(args.model_dir / inference.FILE))
    shutil.copyfile(str(Path(__file__).with_name("inference.py")), str(code / "inference.py"))
    args.output_data_dir.mkdir(parents=True, exist_ok=True)
    rounds = range(len(log["train"][STOPPING_METRIC]))
    history = [{"epoch": epoch, **scores_of(log, epoch)} for epoch in rounds]
    (args.output_data_dir / "history.json").write_text(json.dumps(history, indent=1) + "\n")


def main(argv: Sequence[str]) -> None:
    args = arguments.parse(argv)
    report = Report(args.report_every)
    signal.signal(signal.SIGTERM, report.on_signal)
    try:
        booster, log = boost(args, report)
    except data.DataError as e:
        raise SystemExit(f"DataError: {e}") from e
    save(booster, log, args)
    print(f"model saved in {args.model_dir} with {booster.num_boosted_rounds()} rounds", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
