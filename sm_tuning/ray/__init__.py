"""The same spec and the same script on a Ray cluster.

All names are imported on first use: Ray itself takes a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sm_tuning._lazy import lazy_names

if TYPE_CHECKING:
    from sm_tuning.ray._space import domains, from_ray
    from sm_tuning.ray._tuner import restore_ray, to_ray
else:
    _HOMES = {"._space": ("domains", "from_ray"), "._tuner": ("restore_ray", "to_ray")}
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)

__all__ = ["domains", "from_ray", "restore_ray", "to_ray"]
