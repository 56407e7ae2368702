"""``make demo``: run a real tuning job of the built-in XGBoost on this machine, and read its results."""

from __future__ import annotations

import sys
from pathlib import Path

import sm_tuning as smt

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "demo-output"
#: Dollars an hour in us-east-1, from the AWS Price List: used to show what the same job would cost there.
PRICES = {"ml.m5.large": 0.115}
SHOWN = ["eta", "max_depth", "subsample", "FinalObjectiveValue", "BestSoFar", "TrainingJobStatus"]


def main() -> None:
    """Tune, print the best trial, and write its frames as CSV files and a report to ``demo-output/``."""
    OUTPUT.mkdir(exist_ok=True)
    with smt.local.connect() as server:
        print(f"The SageMaker on this machine listens at {server.info.endpoint_url}")
        job = smt.launch(ROOT / "estimators" / "xgboost-diabetes.yaml", wait=True)
        frames = {"trials": job.trials(), "curves": job.curves(), "logs": job.logs()}
        report = job.report(OUTPUT / "report.html", prices=PRICES)
        show_best(job.best)
    print(f"\n{frames['trials'][SHOWN].to_string(index=False)}\n")
    for name, frame in frames.items():
        frame.to_csv(OUTPUT / f"{name}.csv", index=False)
        print(f"demo-output/{name}.csv: {len(frame):,} rows")
    print(f"demo-output/{report.name}: open it in a browser; it needs no server and no network")


def show_best(best: smt.BestTrial | None) -> None:
    """Print the best trial."""
    if best is None:
        print("no trial has an objective value")
        return
    print(f"\nBest trial: {best.training_job_name}")
    print(f"  {best.metric_name} = {best.objective_value:.4f}")
    for name, value in best.hyperparameters.items():
        print(f"  {name} = {value}")
    print(f"  model: {best.model_uri}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\ninterrupted: the SageMaker on this machine has stopped", file=sys.stderr)
        sys.exit(130)
