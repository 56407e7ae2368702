"""A small sample of the kill campaigns: ``python -m benchmarks.kills`` has many more deaths."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from servers import start_server, stop_server


@pytest.mark.parametrize(
    "name",
    [
        "hyperband",
        pytest.param("two hosts", marks=pytest.mark.whole),
        *(pytest.param(name, marks=pytest.mark.long) for name in ("bayesian", "spot", "warm start")),
    ],
)
def test_deaths_of_the_server_change_nothing_of_what_a_tuning_job_comes_to(
    processes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    from benchmarks.kills.__main__ import SCENARIOS, Plan, campaign

    def start(folder: Path) -> Callable[[], None]:
        start_server(folder)
        return partial(stop_server, folder)  # with SIGKILL

    plan = Plan(trials=3, seconds=0.6, kills=2, shortest=0.0, longest=0.8)
    try:
        result = campaign(tmp_path / "state", SCENARIOS[name], plan, start)
    finally:
        stop_server(tmp_path / "state")
    assert result.wrong == []
    assert result.kills


@pytest.mark.long
def test_deaths_among_endpoints_and_transforms_leave_nothing_wrong_doubled_or_over(
    processes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    from benchmarks.kills import serving

    def start(folder: Path) -> Callable[[], None]:
        start_server(folder)
        return partial(stop_server, folder)

    try:
        result = serving.campaign(tmp_path / "state", 3, 1, start)
    finally:
        stop_server(tmp_path / "state")
    assert result.wrong == []
    assert set(result.kills) == set(serving.VICTIMS)
    assert result.predictions
