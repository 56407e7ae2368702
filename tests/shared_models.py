"""What botocore computes for each session and each client anew, computed once for all sessions of the tests."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from typing import Any

import botocore.hooks
import botocore.loaders
import botocore.session
from botocore.client import ClientCreator
from botocore.hooks import EventAliaser
from botocore.loaders import Loader
from botocore.model import ServiceModel


class SharedLoader(Loader):
    """A loader whose search paths stay few, although each boto3 session adds its own."""

    @property
    def search_paths(self) -> list[str]:
        self._search_paths[:] = dict.fromkeys(self._search_paths)
        return self._search_paths


def share_models() -> None:
    """Read and parse each service model once, and derive methods, event names and signatures from it once.

    A session with three clients takes half of the processor time with this, and the tests make two thousand.
    """
    botocore.loaders.Loader = SharedLoader
    botocore.session.create_loader = functools.cache(botocore.loaders.create_loader)

    load, create_methods = ClientCreator._load_service_model, ClientCreator._create_methods
    models: dict[tuple[str, str | None], ServiceModel] = {}
    methods: dict[int, dict[str, Any]] = {}

    def shared_model(self: ClientCreator, service_name: str, api_version: str | None = None) -> ServiceModel:
        if not isinstance(self._loader, SharedLoader):
            return load(self, service_name, api_version)
        key = (service_name, api_version)
        if key not in models:
            models[key] = load(self, service_name, api_version)
        return models[key]

    def shared_methods(self: ClientCreator, service_model: ServiceModel) -> dict[str, Any]:
        if service_model not in models.values():
            return create_methods(self, service_model)
        if id(service_model) not in methods:
            methods[id(service_model)] = create_methods(self, service_model)
        return dict(methods[id(service_model)])  # each client class adds methods of its own

    ClientCreator._load_service_model = shared_model
    ClientCreator._create_methods = shared_methods
    alias = functools.cache(EventAliaser(None)._alias_event_name)
    EventAliaser._alias_event_name = lambda _self, name: alias(name)
    botocore.hooks.accepts_kwargs = _accepts_kwargs(botocore.hooks.accepts_kwargs)


def read_models() -> None:
    """Read the models that most tests need, without the settings of this machine."""
    settings = dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
    session = botocore.session.Session(session_vars={**settings, "profile": (None, None, None, None)})
    for service in ("sagemaker", "s3", "logs", "cloudwatch", "sts", "iam"):
        session.create_client(service, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")


def _accepts_kwargs(otherwise: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def accepts_kwargs(function: Any) -> Any:
        code = getattr(function, "__code__", None)
        return otherwise(function) if code is None else bool(code.co_flags & inspect.CO_VARKEYWORDS)

    return accepts_kwargs
