"""A log directory, read by TensorBoard's own backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer, tag_types
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups
from tensorboard.util import tensor_util

STATUSES = ("STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING")


class LogDirectory:
    """What TensorBoard's HParams and Time Series views are given."""

    def __init__(self, path: Path) -> None:
        self._runs = plugin_event_multiplexer.EventMultiplexer(tensor_size_guidance={"scalars": 0})
        self._runs._size_guidance = {tag_types.TENSORS: 0}
        self._runs.AddRunsFromDirectory(str(path)).Reload()
        provider = data_provider.MultiplexerDataProvider(self._runs, str(path))
        self._hparams = backend_context.Context(TBContext(data_provider=provider, logdir=str(path)))

    @property
    def experiment(self) -> Any:
        """The columns."""
        request = api_pb2.GetExperimentRequest(include_metrics=True)
        return get_experiment.Handler(RequestContext(), self._hparams, "", request).run()

    def sessions(self, *, sort_by: str | None = None) -> list[Any]:
        """The rows of the table view, with all columns asked for."""
        experiment = self.experiment
        columns = [api_pb2.ColParams(hparam=one.name) for one in experiment.hparam_infos]
        columns += [api_pb2.ColParams(metric=one.name) for one in experiment.metric_infos]
        for column in columns:
            if sort_by in (column.hparam, column.metric.tag):
                column.order = api_pb2.ORDER_ASC
        request = api_pb2.ListSessionGroupsRequest(
            allowed_statuses=[api_pb2.Status.Value(status) for status in STATUSES],
            col_params=columns,
            slice_size=1000,
        )
        answer = list_session_groups.Handler(RequestContext(), self._hparams, "", request).run()
        return list(answer.session_groups)

    def curve(self, run: str, tag: str) -> list[tuple[int, float, float]]:
        """Step, wall time and value of each scalar."""
        return [
            (event.step, event.wall_time, tensor_util.make_ndarray(event.tensor_proto).item())
            for event in self._runs.Tensors(run, tag)
        ]

    def tags(self, run: str) -> list[str]:
        """The run's scalars and texts."""
        return sorted(tag for tag in self._runs.Runs()[run][tag_types.TENSORS] if not tag.startswith("_hparams_"))
