from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sm_tuning.results._patterns import required, server_pattern

REGEXES = [
    r".*\[[0-9]+\].*#011validation-rmse:([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?).*",
    r"Train_loss=(.*?);",
    r"val_acc: ([0-9\.]+)",
    r"\[loss\]: (\d+)?x*yz{0,2}",
    r"ab+c(d)",
    r"ab{2,3}c?d{0}(e)",
    r"(?:abc|def)ghi([0-9])",
    r"[]abc]def([^]x]+)",
    r"(a(b)c)+def",
    r"one (.*)|two (.*)",
    r"^loss\tis\s(.*)$",
    r"x(?=abc)abc(\d)",
    r"abc(?!d)(.)",
    r"a{,2}bc(\d)",
    r"a{x}(\d)",
    r"lr\x41bc(\d)",
]


@given(st.sampled_from(REGEXES), st.data())
def test_every_match_contains_the_required_text(regex: str, data: st.DataObject) -> None:
    assert required(regex) in data.draw(st.from_regex(regex))


PIECES = st.sampled_from(
    ["ab", "c", r"\.", r"\d", ".", "[xy]", "[^]]", "(d)", "(e|f)", "(?:gh)", "a*", "b?", "cd+", "e{2}", "f{0,1}", "|"]
)


@given(st.lists(PIECES, max_size=8).map("".join), st.data())
def test_it_holds_for_expressions_of_any_shape(regex: str, data: st.DataObject) -> None:
    line = data.draw(st.from_regex(regex) | st.text("abcdefgh.xy", max_size=12))
    if re.search(regex, line):
        assert required(regex) in line


@pytest.mark.parametrize(
    ("regex", "text"),
    [
        (REGEXES[0], "#011validation-rmse:"),
        (r"Train_loss=(.*?);", "Train_loss="),
        (r"a\.b(\d)", "a.b"),
        (r"one (.*)|two (.*)", ""),
        (r"(?i)loss=(.*)", ""),
        (r"(?x) loss = (.*)", ""),
        (r"lo(?i:ss)=(.*)", ""),
        (r"(.*)", ""),
        (r"lr\x41bc(\d)", ""),
        (r"(a)bc\1def", ""),
    ],
)
def test_the_longest_plain_text_is_found(regex: str, text: str) -> None:
    assert required(regex) == text


def test_the_server_s_pattern_carries_only_signs_that_stand_for_themselves() -> None:
    assert server_pattern([r"val:loss=(.*)", r"f1:(.*)"]) is None
    assert server_pattern([r"val:loss=(.*)", r"accuracy is (.*)"]) == "%loss=|accuracy%"
    assert server_pattern([r"loss=(.*)", r"loss=(\d+)"]) == "%loss=%"
    assert server_pattern([]) is None
    assert server_pattern([f"{'x' * 40}{n}=(.*)" for n in range(40)]) is None
