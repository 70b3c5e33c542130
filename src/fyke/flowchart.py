"""A stream graph as a drawing: text for the terminal, Mermaid for documents. Pure functions of the boxes.

In text each box is a line or more, inputs before what takes them; a box that takes what stands directly above it hangs
on it, one that takes something else names it by its number.
"""

from __future__ import annotations

from collections.abc import Sequence

from fyke.errors import DefinitionError
from fyke.explain import escaped
from fyke.nodes import Node, Side, Source, order_of

__all__ = ["box_names", "draw_mermaid", "draw_text", "drawn"]


def box_names(nodes: Sequence[Node]) -> dict[Node, str]:
    """Name each box of a graph: by its own name, or by its kind and a number; the same for equal graphs.

    Args:
        nodes: in the order of order_of.
    """
    taken = {node.title for node in nodes if node.title is not None}
    taken |= {node.name for node in nodes if isinstance(node, Source)}
    names: dict[Node, str] = {}
    counts: dict[str, int] = {}
    for node in nodes:
        if isinstance(node, Source) or node.title is not None:
            names[node] = node.name if isinstance(node, Source) else str(node.title)
            continue
        if isinstance(node, Side):
            names[node] = f"{names[node.inputs[0]]}.{node.output}"
            continue
        while True:
            counts[node.kind] = counts.get(node.kind, 0) + 1
            name = f"{node.kind}_{counts[node.kind]}"
            if name not in taken:
                break
        names[node] = name
    return names


def drawn(outputs: Sequence[Node], labels: Sequence[str], style: str) -> str:
    """Draw as text or as Mermaid; raises DefinitionError for another style."""
    if style not in ("text", "mermaid"):
        raise DefinitionError(f'describe({style!r}): expected "text" or "mermaid"')
    return draw_text(outputs, labels) if style == "text" else draw_mermaid(outputs, labels)


def draw_text(outputs: Sequence[Node], labels: Sequence[str] = ()) -> str:
    """Draw with line characters.

    Args:
        outputs: the boxes whose rows are given out.
        labels: what the outputs are called.

    >>> from fyke import col, stream
    >>> payments = stream("payments", time="ts", out_of_order="30s")
    >>> print(payments.filter(col.amount > 500).select("card").describe())
    payments         source: time ts, out of order up to 30s
      │
    filter_1         col.amount > 500
      │
    select_1         card
    """
    nodes = order_of(outputs)
    names = box_names(nodes)
    given: dict[Node, list[str]] = {}
    for node, label in zip(outputs, labels, strict=False):
        given.setdefault(node, []).append(label)
    width = max(16, *(len(name) for name in names.values())) + 1
    lines: list[str] = []
    for i, node in enumerate(nodes):
        if node.inputs:
            follows = node.inputs == (nodes[i - 1],)
            lines.append("  │" if follows else "")
        words = _words(node)
        if node.inputs and node.inputs != (nodes[i - 1],):
            words = ["of " + ", ".join(names[each] for each in node.inputs), *words]
        if node in given:
            words.append("--> " + ", ".join(given[node]))
        lines.append(f"{names[node]:<{width}}{words[0] if words else ''}")
        lines += [" " * width + word for word in words[1:]]
    return "\n".join(line.rstrip() for line in lines)


def draw_mermaid(outputs: Sequence[Node], labels: Sequence[str] = ()) -> str:
    """Draw as a Mermaid flowchart: sources are cylinders, outputs double boxes.

    >>> from fyke import col, stream
    >>> print(stream("payments", time="ts").filter(col.amount > 500).describe("mermaid"))
    flowchart TD
        n1[("<b>payments</b><br/>source: time ts")]
        n2["<b>filter_1</b><br/>col.amount #gt; 500"]
        n1 --> n2
    """
    nodes = order_of(outputs)
    names = box_names(nodes)
    ids = {node: f"n{i + 1}" for i, node in enumerate(nodes)}
    lines = ["flowchart TD"]
    arrows = []
    for node in nodes:
        label = "<br/>".join([f"<b>{escaped(names[node])}</b>", *map(escaped, _words(node))])
        lines.append(f'    {ids[node]}[("{label}")]' if isinstance(node, Source) else f'    {ids[node]}["{label}"]')
        for each in node.inputs:
            arrows.append(f"    {ids[each]} {'-.->' if isinstance(node, Side) else '-->'} {ids[node]}")
    for i, (node, label) in enumerate(zip(outputs, labels, strict=False)):
        lines.append(f'    o{i + 1}[["{escaped(label)}"]]')
        arrows.append(f"    {ids[node]} --> o{i + 1}")
    return "\n".join(lines + arrows)


def _words(node: Node) -> list[str]:
    words = node.words()
    return [f"source: {words[0]}"] if isinstance(node, Source) else words
