"""The SageMaker SDK v3 works against the local SageMaker as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sm_tuning as smt

pytest.importorskip("sagemaker.train", reason="needs the extra 'sdk'")
pytestmark = pytest.mark.slow

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, object], object]]:
    """What the SDK's program said, and the frame that we read of the same job."""
    state = tmp_path_factory.mktemp("state")
    with smt.local.connect(state_dir=state) as server:
        environ = {**os.environ, "SM_TUNING_STATE_DIR": str(state)}
        arguments = [str(HERE / "_source"), server.info.bucket, server.info.role_arn]
        program = [sys.executable, str(HERE / "_tune.py"), *arguments]
        done = subprocess.run(program, env=environ, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        said = json.loads(done.stdout.splitlines()[-1])
        yield said, smt.attach(said["name"]).trials()


def test_the_sdks_tuner_runs_to_completion(tuned: tuple[dict[str, object], object]) -> None:
    said, _ = tuned

    assert said["status"] == "Completed"
    assert said["rows"] == 3


def test_the_sdks_analytics_and_our_frame_tell_the_same(tuned: tuple[dict[str, object], object]) -> None:
    said, trials = tuned

    assert sorted(said["objective"]) == sorted(trials["FinalObjectiveValue"].tolist())
    assert said["best"] == trials.loc[trials["IsBest"], "TrainingJobName"].item()
    assert {"lr", "optimizer"} <= set(said["columns"])
