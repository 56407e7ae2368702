"""The operations by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from sm_tuning.local.records import _endpoints, _packages
from sm_tuning.local.records._kinds import CONFIG, ENDPOINT, GROUP, MODEL, Kind, RecordsContext
from sm_tuning.local.service import Doc, Request


def _describe(kind: Kind, context: RecordsContext, request: Request) -> Doc:
    return kind.described(kind.find(context, request[kind.name]))


def _list(kind: Kind, context: RecordsContext, request: Request) -> Doc:
    return kind.page(context, request)


def _delete(kind: Kind, context: RecordsContext, request: Request) -> Doc:
    """Delete a model or a configuration.

    An endpoint that uses it goes on, as on the service: SDK v2 deletes the configuration before the endpoint.
    """
    context.store.delete_resource(kind.find(context, request[kind.name])[kind.arn])
    return {}


_OPERATIONS: Mapping[str, Callable[[RecordsContext, Request], Doc]] = {
    "CreateModel": _endpoints.create_model,
    "DescribeModel": partial(_describe, MODEL),
    "ListModels": partial(_list, MODEL),
    "DeleteModel": partial(_delete, MODEL),
    "CreateEndpointConfig": _endpoints.create_config,
    "DescribeEndpointConfig": partial(_describe, CONFIG),
    "ListEndpointConfigs": partial(_list, CONFIG),
    "DeleteEndpointConfig": partial(_delete, CONFIG),
    "CreateEndpoint": _endpoints.create_endpoint,
    "UpdateEndpoint": _endpoints.update_endpoint,
    "UpdateEndpointWeightsAndCapacities": _endpoints.update_weights,
    "DescribeEndpoint": _endpoints.describe_endpoint,
    "ListEndpoints": partial(_list, ENDPOINT),
    "DeleteEndpoint": _endpoints.delete_endpoint,
    "CreateModelPackageGroup": _packages.create_group,
    "DescribeModelPackageGroup": _packages.describe_group,
    "ListModelPackageGroups": partial(_list, GROUP),
    "DeleteModelPackageGroup": _packages.delete_group,
    "CreateModelPackage": _packages.create_package,
    "DescribeModelPackage": _packages.describe_package,
    "ListModelPackages": _packages.list_packages,
    "UpdateModelPackage": _packages.update_package,
    "DeleteModelPackage": _packages.delete_package,
    "BatchDescribeModelPackage": _packages.batch_describe_packages,
}


def record_operations(context: RecordsContext) -> dict[str, Callable[[Request], Doc]]:
    """Return the operations on models, endpoints and model packages."""
    return {name: partial(operation, context) for name, operation in _OPERATIONS.items()}
