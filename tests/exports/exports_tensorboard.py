"""A log directory, read by TensorBoard's own backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from later import Later

_EVENTS, _HPARAMS = "tensorboard.backend.event_processing", "tensorboard.plugins.hparams"
data_provider, tag_types = Later(f"{_EVENTS}.data_provider"), Later(f"{_EVENTS}.tag_types")
plugin_event_multiplexer = Later(f"{_EVENTS}.plugin_event_multiplexer")
api_pb2, backend_context = Later(f"{_HPARAMS}.api_pb2"), Later(f"{_HPARAMS}.backend_context")
get_experiment, list_session_groups = Later(f"{_HPARAMS}.get_experiment"), Later(f"{_HPARAMS}.list_session_groups")
base_plugin, context = Later("tensorboard.plugins.base_plugin"), Later("tensorboard.context")
tensor_util = Later("tensorboard.util.tensor_util")

STATUSES = ("STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING")


class LogDirectory:
    """What TensorBoard's HParams and Time Series views are given."""

    def __init__(self, path: Path) -> None:
        self._runs = plugin_event_multiplexer.EventMultiplexer(tensor_size_guidance={"scalars": 0})
        self._runs._size_guidance = {tag_types.TENSORS: 0}
        self._runs.AddRunsFromDirectory(str(path)).Reload()
        provider = data_provider.MultiplexerDataProvider(self._runs, str(path))
        self._hparams = backend_context.Context(base_plugin.TBContext(data_provider=provider, logdir=str(path)))

    @property
    def experiment(self) -> Any:
        """The columns."""
        request = api_pb2.GetExperimentRequest(include_metrics=True)
        return get_experiment.Handler(context.RequestContext(), self._hparams, "", request).run()

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
        answer = list_session_groups.Handler(context.RequestContext(), self._hparams, "", request).run()
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
