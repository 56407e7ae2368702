"""What a finished tuning job would have taken with other settings, replayed on a virtual clock over its own curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sm_tuning._lazy import lazy_names

if TYPE_CHECKING:
    from sm_tuning.results.replay._clock import search_of
    from sm_tuning.results.replay._past import Course, Past, PastTrial, past_of
    from sm_tuning.results.replay._read import assumed_lag, replay
    from sm_tuning.results.replay._replay import Change, Setting, replay_kept
    from sm_tuning.results.replay._value import Figures, Replay
else:
    _HOMES = {
        "._clock": ("search_of",),
        "._past": ("Course", "Past", "PastTrial", "past_of"),
        "._read": ("assumed_lag", "replay"),
        "._replay": ("Change", "Setting", "replay_kept"),
        "._value": ("Figures", "Replay"),
    }
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)

__all__ = [
    "Change",
    "Course",
    "Figures",
    "Past",
    "PastTrial",
    "Replay",
    "Setting",
    "assumed_lag",
    "past_of",
    "replay",
    "replay_kept",
    "search_of",
]
