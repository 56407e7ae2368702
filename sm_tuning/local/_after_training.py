"""Everything behind a trained model on this server: records, endpoints, batch transform and processing jobs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from sm_tuning.executor import count_cpus
from sm_tuning.local._config import StateDir
from sm_tuning.local._moto import AwsLocal
from sm_tuning.local.processing import Processing, processing_operations
from sm_tuning.local.records import JobContext, RecordsContext, record_operations
from sm_tuning.local.runner import RunnerContext
from sm_tuning.local.serving import EndpointServing, Invoker, Starter
from sm_tuning.local.transform import Transforms, transform_operations


class AfterTraining:
    """The operations after training, and the processes behind them.

    Args:
        context: services and settings of the runner, which model and processing processes share.
        aws: S3 and logs.
        state: folders of the server.
    """

    def __init__(self, context: RunnerContext, aws: AwsLocal, state: StateDir) -> None:
        store, identity, clock = context.store, context.identity, context.clock
        self._starter = Starter(context, state.models)
        self._serving = EndpointServing(store, self._starter, aws, clock)
        slots = threading.BoundedSemaphore(max(2, count_cpus()))
        self._transforms = Transforms(store, aws, self._starter, clock, slots)
        self._processing = Processing(context, state.processing, aws.put_group_events, slots)
        records = RecordsContext(store, aws, identity, clock, self._serving)
        #: Answers the runtime API of endpoints.
        self.invoker = Invoker(store, self._serving, identity)
        #: The operations by name.
        self.operations: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            **record_operations(records),
            **transform_operations(JobContext(records, self._transforms)),
            **processing_operations(JobContext(records, self._processing)),
        }

    def recover(self) -> None:
        """Kill what an earlier server left behind, and continue its unfinished work."""
        self._starter.clean()
        for part in (self._serving, self._transforms, self._processing):
            part.recover()

    def close(self) -> None:
        """End all processes; the documents stay. What is starting ends first, since the others wait for it."""
        for part in (self._starter, self._transforms, self._processing, self._serving):
            part.close()
