"""The drawings of a pattern: every construct is visible, and each drawing is well formed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fyke import Pattern, PatternError, begin, col, ref, skip
from fyke.explain import diagram_mermaid, diagram_text, quantifier_words

EVERYTHING = (
    begin("probe", col.amount < 1)
    .followed_by(begin("spree", col.amount > 500.5, col.country != ref("probe").country).next("rest"))
    .times(2, 3, within="1m")
    .not_followed_by("block", col.kind == "block | #1")
    .within(gap="5m")
    .followed_by_any("more")
    .one_or_more()
    .until(col.x == 5)
    .within("10m")
    .by("card", col.shop // 10)
    .skip(skip.to_first("probe", throw=True))
    .named("card testing")
)


def test_text_shows_every_construct() -> None:
    """Boxes, a frame for the group, a broken frame for NOT, and what holds for the whole."""
    golden = Path(__file__).parent / "golden" / "diagram.txt"
    assert diagram_text(EVERYTHING) == golden.read_text(encoding="utf-8").rstrip("\n")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (begin("a"), ""),
        (begin("a").optional(), "optional"),
        (begin("a").times(3), "3 times"),
        (begin("a").times(0, 4), "1 to 4 times, optional"),
        (begin("a").times_or_more(2).greedy(), "2 or more, greedy"),
        (begin("a").one_or_more(within="5s").consecutive(), "one or more, consecutive, each within 5s"),
        (begin("a").one_or_more().allow_combinations(), "one or more, all combinations"),
    ],
)
def test_quantifiers_are_said_in_words(pattern: Pattern, words: str) -> None:
    """Exactly once needs none."""
    assert quantifier_words(pattern.stages[0]) == words


def test_a_long_condition_is_cut_at_its_ands() -> None:
    """One part a line, so that boxes stay narrow."""
    condition = (col.a_long_column_name > 1000) & (col.another_long_column < 2000) & (col.third.is_null() | col.fourth)
    assert [line.strip("│ ") for line in diagram_text(begin("a", condition)).splitlines()[1:-1]] == [
        "a",
        "col.a_long_column_name > 1000",
        "and col.another_long_column < 2000",
        "and col.third.is_null() | col.fourth",
    ]


def test_mermaid_shows_every_construct() -> None:
    """A subgraph for the group, a hexagon for NOT, and signs that Mermaid would read as its own are escaped."""
    text = diagram_mermaid(EVERYTHING)
    assert text.splitlines() == [
        "flowchart TD",
        '    s1["<b>probe</b><br/>col.amount #lt; 1"]',
        '    subgraph s2["group 2 to 3 times, each within 1m"]',
        "        s3[\"<b>spree</b><br/>(col.amount #gt; 500.5) #amp; (col.country != ref('probe').country)\"]",
        '        s4["<b>rest</b><br/>any event"]',
        "    end",
        "    s5{{\"<b>NOT block</b><br/>col.kind == 'block #124; #35;1'\"}}",
        '    s6["<b>more</b> one or more<br/>any event<br/>until col.x == 5"]',
        '    whole[/"pattern card testing<br/>for each col.card, col.shop // 10<br/>first to last event within 10m<br/>'
        'after a match drop all that started before the first #quot;probe#quot;, an error if there is none"/]',
        "    s3 -->|directly after| s4",
        "    s1 -->|then, the first| s2",
        "    s2 -.-x|until then, NOT, within 5m| s5",
        "    s5 -->|then, any| s6",
        "    s6 -.->|again| s6",
    ]


def test_mermaid_arrows_join_nodes_that_exist() -> None:
    """Also in nested groups, and nodes are named once."""
    pattern = begin(begin("a").next(begin("b").next("c")).times(2)).one_or_more().until(col.x == 1).next("d")
    text = diagram_mermaid(pattern)
    nodes = re.findall(r"^ *(?:subgraph )?(s\d+)[\[{]", text, re.MULTILINE)
    arrows = re.findall(r"^    (s\d+) -\S*\|.*\| (s\d+)$", text, re.MULTILINE)
    assert len(nodes) == len(set(nodes)) == 6
    assert len(arrows) == 3
    assert {node for arrow in arrows for node in arrow} <= set(nodes)
    assert '["group one or more<br/>until col.x == 1"]' in text


@pytest.mark.parametrize("draw", [diagram_text, diagram_mermaid])
def test_a_wrong_pattern_is_not_drawn(draw: Callable[[Pattern], str]) -> None:
    """It would show what cannot run."""
    with pytest.raises(PatternError, match="needs a window"):
        draw(begin("a").not_followed_by("b"))
