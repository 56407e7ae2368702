"""Twenty questions of an analyst: the calls that answer each, and what the answers must have."""

from __future__ import annotations

from typing import Any, NamedTuple


class Question(NamedTuple):
    """A question with at most two calls, and regular expressions that the last answer matches.

    Names in braces stand for names of trials: best, failed, first.
    """

    text: str
    calls: tuple[tuple[str, dict[str, Any]], ...]
    answers: tuple[str, ...]


J = {"job": "wide-grid"}

QUESTIONS = (
    Question("Which jobs are there?", (("list_jobs", {}),), ("of 2$", "^wide-grid,Completed,Grid,", "^small-grid,")),
    Question("Which jobs are small?", (("list_jobs", {"name_contains": "small"}),), ("of 1$", "^small-grid,")),
    Question("Is any job running?", (("list_jobs", {"status": "InProgress"}),), ("^tuning jobs: no rows$",)),
    Question("Has it ended?", (("status", J),), ("^status: Completed$", "^ended: 20", "^seconds: [0-9]+$")),
    Question("How many trials failed?", (("status", J),), ("^trials: .*completed=5.*non_retryable_error=1",)),
    Question(
        "What is the best value?",
        (("status", J),),
        ("^best value: validation:loss = 0.113333$", "^best trial: {best}$", "^best hyperparameters: .*width=3"),
    ),
    Question(
        "What was searched?",
        (("status", J),),
        (r"^ranges: .*width=\['1', '2', '3'\]", "^objective: Minimize validation:loss$", "^machines: 1 x ml.m5.large$"),
    ),
    Question(
        "Which are the two best trials?",
        (("trials", {**J, "best_first": True, "limit": 2}),),
        ("rows 1 to 2 of 6; the next ones have offset=2$", "^{best},Completed,0.113333,", "Completed,0.145,"),
    ),
    Question(
        "Which trials failed?", (("trials", {**J, "status": "Failed"}),), ("rows 1 to 1 of 1$", "^{failed},Failed")
    ),
    Question(
        "How did the best trial train?",
        (("status", J), ("curves", {**J, "trial": "{best}"})),
        ("^{best},validation:loss,4,0.363333,0.113333,0.113333,0.363333$", "^{best},train:loss,4,"),
    ),
    Question(
        "What was the loss of the best trial after each epoch?",
        (("status", J), ("curves", {**J, "trial": "{best}", "metric": "validation:loss", "points": True})),
        ("rows 1 to 4 of 4$", "^{best},validation:loss,1,.*0.196667$"),
    ),
    Question("Why did it fail?", (("errors", J),), ("^1 of 1 failed trials .{failed}.: .*the width does not fit",)),
    Question("Where in the script did it fail?", (("errors", {**J, "trial": "{failed}"}),), ("train.py.*line [0-9]+",)),
    Question(
        "What does the log of a failed trial end with?",
        (("trials", {**J, "status": "Failed"}), ("logs", {**J, "trial": "{failed}", "newest_first": True, "limit": 9})),
        ("rows 1 to 9 of [0-9]+; ", "^{failed} 20.*Z .*the width does not fit"),
    ),
    Question(
        "Which losses did all trials print?",
        (("logs", {**J, "grep": "^validation:loss"}),),
        ("rows 1 to 21 of 21$", "^{best} .*Z validation:loss=0.113333;$"),
    ),
    Question("What did it cost?", (("cost", J),), ("^USD: total {total}", "^{best},ml.m5.large,1,[0-9]+,.*0.115,")),
    Question("What matters most?", (("importance", J),), ("Hyperparameter,", "^(width|mode),", "^warning: ")),
    Question(
        "Would more trials at once have been faster?",
        (("replay", {**J, "max_parallel_jobs": 6}),),
        ("^trials,6,6,", "^hours,", "^replay of wide-grid: "),
    ),
    Question("What should the next job change?", (("advice", J),), ("^advice about wide-grid: ",)),
    Question(
        "Which job is better?",
        (("compare", {"jobs": ["wide-grid", "small-grid"]}),),
        ("^wide-grid,.*,0.113333,", "^small-grid,.*,0.145,"),
    ),
    Question("Can I show it to somebody?", (("report", {**J, "file": "wide.html"}),), ("^file: /.*/wide.html$",)),
)
