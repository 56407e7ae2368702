"""The calls of a report: what several frames need is read once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from results_fakes import FakeSageMaker, training_job
from results_service import invoke

RUNNING = {"TrainingJobStatus": "InProgress", "SecondaryStatus": "Training", "TrainingEndTime": None}


def trials(job: str, running: int = 0) -> list[dict[str, Any]]:
    """Return training jobs that succeeded, one that failed, and running ones: five in all."""
    ended = [training_job(job, number, number / 4) for number in range(1, 5 - running)]
    return [*ended, training_job(job, 5), *(training_job(job, 6 + number, **RUNNING) for number in range(running))]


@pytest.mark.parametrize("running", [0, 2], ids=["an ended job", "a running job"])
def test_a_report_reads_no_list_and_no_description_twice(service: FakeSageMaker, tmp_path: Path, running: int) -> None:
    parents = {"ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "parent"}]}
    status = "InProgress" if running else "Completed"
    service.page_size = 3
    service.put("parent", trials("parent"))
    service.put(
        "job",
        trials("job", running),
        HyperParameterTuningJobStatus=status,
        WarmStartConfig={**parents, "WarmStartType": "IdenticalDataAndAlgorithm"},
    )

    result = invoke(["report", "job", "-o", str(tmp_path / "report.html")])

    assert (tmp_path / "report.html").exists(), result.stderr
    asked = Counter(
        (operation, json.dumps(body, sort_keys=True))
        for operation, body in service.asked
        if operation.startswith(("Describe", "List"))
    )
    assert [call for call, count in asked.items() if count > 1] == []
    assert Counter(operation for operation, _ in asked) == Counter(
        DescribeHyperParameterTuningJob=2,
        ListTrainingJobsForHyperParameterTuningJob=4,
        DescribeTrainingJob=running,  # Search is asked only about trials that have ended
        ListTags=1,
    )
