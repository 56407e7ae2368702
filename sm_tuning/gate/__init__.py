"""Whether a finished tuning job is good enough: requirements over its best trial, its cost and its failures."""

from sm_tuning.gate._facts import Facts, facts
from sm_tuning.gate._judge import Check, Tolerance, Verdict, judge
from sm_tuning.gate._markdown import markdown
from sm_tuning.gate._require import Requirement

__all__ = ["Check", "Facts", "Requirement", "Tolerance", "Verdict", "facts", "judge", "markdown"]
