"""A verdict as Markdown, such as for a pipeline's summary page."""

from __future__ import annotations

from collections.abc import Iterator

from sm_tuning.gate._judge import Verdict


def markdown(verdict: Verdict) -> str:
    """A heading, a table of the requirements, and the best trial with its hyperparameters (secrets are masked)."""
    return "\n".join(_lines(verdict)) + "\n"


def _lines(verdict: Verdict) -> Iterator[str]:
    found = verdict.facts
    yield f"### Gate {'passed' if verdict.passed else 'failed'}: `{found.name}`"
    yield ""
    yield "| requirement | value | result | |"
    yield "| --- | --- | --- | --- |"
    for check in verdict.checks:
        cells = (check.requirement, check.value, "pass" if check.passed else "**fail**", check.note)
        yield f"| {' | '.join(map(_cell, cells))} |"
    yield ""
    counts = ("trials", "completed_trials", "failed_trials", "stopped_trials")
    yield "Trials: " + ", ".join(f"{found.own[name]:g} {name.removesuffix('_trials')}" for name in counts) + "."
    if found.trial is None:
        return
    yield ""
    yield f"Best trial: `{found.trial}`, {_cell(str(found.metric))} = {found.objective:.6g}"
    yield ""
    yield "| hyperparameter | value |"
    yield "| --- | --- |"
    for name, value in found.hyperparameters.items():
        yield f"| {_cell(name)} | {_cell(str(value))} |"


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\r", "").replace("\n", "<br>")
