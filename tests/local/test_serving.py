"""The model processes of endpoints: idle ones end and come back, and only so many live at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from _training import IDENTITY, Bench, wait_for
from test_endpoints import XGBOOST, archive, booster, raw

from sm_tuning.executor.serving import Invocation, ServingError
from sm_tuning.local.serving import EndpointServing, Starter


@pytest.fixture
def bench(processes, tmp_path):
    made = Bench(tmp_path / "state")
    yield made
    made.close()


def serving_of(bench, **options):
    return EndpointServing(
        bench.store, Starter(bench.runner.context, bench.state / "models"), bench.aws, time.time, **options
    )


def variant_of(bench, files):
    uri = bench.put(archive(files), "model.tar.gz")
    return {"VariantName": "a", "Model": {"Container": {"Image": XGBOOST.format("1.7-1"), "ModelDataUrl": uri}}}


def ask(serving, key, variant):
    with serving.use(key, variant) as started:
        return started.host.invoke(Invocation(b"1,2,3", "text/csv"), 10).body, started.folder


def key_of(name):
    return (IDENTITY.arn("endpoint", name), "config", "a")


def test_an_idle_process_ends_and_the_next_request_starts_it_again(bench):
    serving = serving_of(bench, idle=0.2)
    try:
        variant = variant_of(bench, raw(booster()))
        first, folder = ask(serving, key_of("one"), variant)
        wait_for(lambda: not serving.running() and not folder.exists())
        second, other = ask(serving, key_of("one"), variant)
        assert (first, folder == other) == (second, False)
    finally:
        serving.close()
    assert list((bench.state / "models").iterdir()) == []


def test_the_longest_unused_process_ends_for_a_new_one(bench):
    serving = serving_of(bench, most=2)
    try:
        variant = variant_of(bench, raw(booster()))
        for name in ("one", "two", "one", "three"):
            ask(serving, key_of(name), variant)
        wait_for(lambda: {key[0].rpartition("/")[2] for key in serving.running()} == {"one", "three"})
    finally:
        serving.close()


def test_processes_that_start_at_once_are_no_more_than_may_live(bench):
    serving = serving_of(bench, most=1)
    try:
        variant = variant_of(bench, raw(booster()))
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda number: ask(serving, key_of(f"e{number}"), variant), range(2)))
        wait_for(lambda: len(serving.running()) == 1)
        wait_for(lambda: len(list((bench.state / "models").iterdir())) == 1)
    finally:
        serving.close()


def test_a_process_that_died_is_replaced(bench):
    serving = serving_of(bench)
    try:
        variant = variant_of(bench, raw(booster()))
        with serving.use(key_of("one"), variant) as started:
            started.host.abandon()
            wait_for(lambda: not started.host.alive)
        assert ask(serving, key_of("one"), variant)[0]
    finally:
        serving.close()


def test_a_model_that_is_gone_is_an_error_with_its_place(bench):
    serving = serving_of(bench)
    try:
        variant = variant_of(bench, raw(booster()))
        bench.aws.delete(variant["Model"]["Container"]["ModelDataUrl"])
        with pytest.raises(ServingError, match="Failed to download model data"):
            ask(serving, key_of("one"), variant)
    finally:
        serving.close()


def test_the_socket_is_in_the_folder_of_the_process_however_long_its_path_is(processes, tmp_path):
    bench = Bench(tmp_path / ("a-long-name-" * 10) / "state")
    serving = serving_of(bench)
    try:
        variant = variant_of(bench, raw(booster()))
        with serving.use(key_of("one"), variant) as started:
            socket = started.folder / "host" / "socket"
            assert socket.is_socket()
            assert len(str(socket)) > 108
            assert started.host.invoke(Invocation(b"1,2,3", "text/csv"), 10).status == 200
    finally:
        serving.close()
        bench.close()
    assert list((bench.state / "models").iterdir()) == []
