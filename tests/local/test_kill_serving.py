"""kill -9 of a server among endpoints and transforms: nothing wrong, doubled or left over."""

from __future__ import annotations

import contextlib
import random
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from _api import running_api
from later import Later
from servers import kill_server, start_server, wait_for
from test_endpoints import IN_MODEL, ROWS, SKLEARN, XGBOOST, booster, csv_of, raw
from test_transform import ECHO, Transforms

xgb = Later("xgboost")
SLOW = ECHO.replace("    if ", "    import time; time.sleep(0.02)\n    if ")
LINES = b"".join(b"%d\n" % number for number in range(30))
EXPECTED = b"".join(b"%d;\n" % number for number in range(30))


def processes_of(state_dir: Path) -> list[psutil.Process]:
    """The model processes, which work in folders of a state dir."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd().startswith(str(state_dir / "models")):
                found.append(process)
    return found


@pytest.mark.long
def test_endpoints_and_transforms_outlive_killed_servers(processes, tmp_path):
    state, chance = tmp_path / ("a-long-name-" * 10), random.Random(3)  # longer than the path of a socket may be
    model = booster()
    with running_api(state) as api:
        jobs = Transforms(api)
        built_in = jobs.model(raw(model), XGBOOST.format("1.7-1"))
        script = jobs.model({"code/serve.py": SLOW}, SKLEARN, IN_MODEL)
        api.put("data/in.csv", LINES)
        jobs.transformed = lambda name: name
        info, transforms, endpoints = api.info, [], []
        for _ in range(3):
            endpoints.append(jobs.create(built_in))
            transforms.append(jobs.transform(script, BatchStrategy="SingleRecord"))
            time.sleep(chance.uniform(0, 1.5))  # the kill hits another step each time
            kill_server(info)
            info = start_server(state)
        del jobs.transformed
        for name in transforms:
            described = jobs.transformed(name)
            assert described["TransformJobStatus"] == "Completed", described
            assert jobs.outputs(described) == {"in.csv.out": EXPECTED}
        expected = model.predict(xgb.DMatrix(ROWS))
        for name in endpoints:
            described = jobs.settled(name)
            assert described["EndpointStatus"] == "InService", described
            np.testing.assert_array_equal(np.float32(jobs.text(name, csv_of(ROWS)).split()), expected)
        wait_for(lambda: len(processes_of(state)) <= 8)  # the most that live at once
        for name in endpoints:
            jobs.client.delete_endpoint(EndpointName=name)
        wait_for(lambda: not processes_of(state))
        wait_for(lambda: not list((state / "models").iterdir()))
