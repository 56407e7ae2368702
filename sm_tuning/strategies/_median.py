"""The median rule of early stopping (``TrainingJobEarlyStoppingType`` Auto).

Developer Guide, automatic-model-tuning-early-stopping: after each epoch, stop a training job whose objective
is worse than the median of the running averages, up to the same epoch, of the jobs completed before it.
How many jobs must have completed, and how many epochs a job may have for itself, the guide leaves open; the
numbers here are those of the rule's published form by the service's authors (Syne Tune,
``MedianStoppingRule``: grace_time 1, grace_population 5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median

GRACE_EPOCHS = 1
GRACE_TRIALS = 5


def median_stop(curve: Sequence[float], completed_curves: Sequence[Sequence[float]], maximize: bool) -> bool:
    """Whether the running trial should stop now.

    Args:
        curve: the objective of the running trial, one value an epoch, the newest last.
        completed_curves: the same of each trial that completed.
        maximize: whether a higher objective is better.

    Returns:
        ``False`` as long as there is too little to judge by: in the first epoch, or when fewer than five
        completed trials reached this epoch. A value that is not a number is worse than any median.
    """
    epoch = len(curve)
    if epoch <= GRACE_EPOCHS:
        return False
    peers = [fmean(peer[:epoch]) for peer in completed_curves if len(peer) >= epoch]
    peers = [mean for mean in peers if not math.isnan(mean)]
    if len(peers) < GRACE_TRIALS:
        return False
    value, bar = curve[-1], median(peers)
    if math.isnan(value):
        return True
    return value < bar if maximize else value > bar
