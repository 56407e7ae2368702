"""Clients of the services that moto keeps, which check that every listed operation of theirs was called."""

from __future__ import annotations

import pytest
from local_server import LocalServer
from servers import running_server

from sm_tuning.local.http._passed import Kind, passed_operations


@pytest.fixture(scope="module")
def server(processes, tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("kept")) as info:
        yield LocalServer(info)


@pytest.fixture
def kept(server):
    """Makes clients, and checks at the end that all listed operations of their services were answered."""
    called, clients = set(), []

    def make(service):
        client = server.client.__wrapped__(server, service)

        def note(model, http_response, **_):
            if http_response.status_code < 300:
                called.add((service, model.name))

        client.meta.events.register("after-call.*", note)
        clients.append(service)
        return client

    yield make
    kinds = passed_operations()
    missing = {one for one, kind in kinds.items() if one[0] in clients and kind is not Kind.EMPTY} - called
    assert not missing, f"listed, but no test shows that moto keeps it: {sorted(missing)}"


def tags_of(pairs):
    return [{"Key": key, "Value": value} for key, value in pairs.items()]
