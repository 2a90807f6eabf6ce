"""The lineage as a list that grows downwards: who came from whom, what was promoted, what was taken back.

The champions stand on the trunk; each refused version hangs beside it. One row a version and a row for each rollback,
so the graph is as readable with two hundred versions as with five, on a phone too.

Not here: what the rows say beside the graph (the template).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from markupsafe import Markup

from evolvent.report.charts import glyph
from evolvent.report.rows import Rollback, Version
from evolvent.report.story import Story
from evolvent.report.svg import drawing, shape
from evolvent.report.words import short

__all__ = ["ROW", "Node", "gutter", "nodes"]

ROW = 44  # pixels; `page.css` gives the rows beside the graph the same height
_TRUNK, _SIDE, _BACK, _WIDTH = 34.0, 66.0, 10.0, 84

Kind = Literal["seed", "promoted", "forced", "refused", "back"]


@dataclass(frozen=True, kw_only=True)
class Node:
    """One row of the lineage.

    Attributes:
        kind: how it stands in the graph.
        version: the version, or the one that a rollback restored.
        row: its place from the top.
        entry: the version's row, ``None`` for a rollback.
        rollback: the rollback, ``None`` for a version.
    """

    kind: Kind
    version: str
    row: int
    entry: Version | None = None
    rollback: Rollback | None = None

    @property
    def on_trunk(self) -> bool:
        """It was champion."""
        return self.kind != "refused"


def nodes(story: Story, limit: int = 120) -> list[Node]:
    """The rows from oldest to newest; beyond `limit` rows only champions and the newest refused ones."""
    forced = {promotion.version for promotion in story.promotions if promotion.forced}
    proven = {promotion.version for promotion in story.promotions} - forced
    found: list[tuple[tuple[int, int, int], Node]] = []
    for i, entry in enumerate(story.versions.values()):
        kind: Kind = "refused"
        if entry.version == story.seed_version:
            kind = "seed"
        elif entry.version in proven or entry.version in forced:
            kind = "forced" if entry.version in forced else "promoted"
        # Within a turn: those who lost, then the winner, so that the trunk runs past them; its own children below it.
        younger = any(p in story.versions and story.versions[p].turn == entry.turn for p in entry.parents)
        rank = (2 if younger else 0) if kind == "refused" else 1
        node = Node(kind=kind, version=entry.version, row=0, entry=entry)
        found.append(((entry.turn, rank, i), node))
    for i, rollback in enumerate(story.rollbacks):
        node = Node(kind="back", version=rollback.target, row=0, rollback=rollback)
        found.append(((rollback.turn, 3, i), node))
    ordered = [node for _, node in sorted(found, key=lambda item: item[0])]
    spare = max(limit - sum(node.on_trunk for node in ordered), 0)
    refused = [node for node in ordered if not node.on_trunk]
    left_out = {node.version for node in refused[: max(len(refused) - spare, 0)]}
    kept = [node for node in ordered if node.on_trunk or node.version not in left_out]
    return [Node(kind=n.kind, version=n.version, row=i, entry=n.entry, rollback=n.rollback) for i, n in enumerate(kept)]


def gutter(rows: list[Node]) -> Markup:
    """The graph beside the rows."""
    parts: list[Markup] = []
    places = {node.version: node for node in rows if node.entry is not None}
    trunk = [node for node in rows if node.on_trunk]
    for upper, lower in pairwise(trunk):
        parts.append(shape("line", x1=_TRUNK, x2=_TRUNK, y1=_y(upper), y2=_y(lower), class_=_trunk(upper)))
    last = trunk[-1] if trunk else None
    if last is not None and rows[-1] is not last:
        parts.append(shape("line", x1=_TRUNK, x2=_TRUNK, y1=_y(last), y2=_y(rows[-1]) - ROW / 2, class_=_trunk(last)))
    for node in rows:
        parts.append(_edge(node, rows, places))
    parts += [_dot(node) for node in rows]
    names = ", ".join(f"{short(node.version)} {node.kind}" for node in rows)
    return drawing(_WIDTH, ROW * len(rows), "Lineage", names, parts, class_="gutter")


def _trunk(upper: Node) -> str:
    return "trunk forced" if upper.kind == "forced" else "trunk"


def _edge(node: Node, rows: list[Node], places: dict[str, Node]) -> Markup:
    y = _y(node)
    if node.kind == "back":
        target = places.get(node.version)
        if target is None:
            return Markup("")
        top = _y(target)
        arc = f"M{_TRUNK} {top} C{_BACK} {top + ROW / 2} {_BACK} {top + ROW / 2} {_BACK} {top + ROW}"
        arc += f" L{_BACK} {y - ROW} C{_BACK} {y - ROW / 2} {_BACK} {y - ROW / 2} {_TRUNK} {y}"
        return shape("path", d=arc, class_="edge back")
    if node.kind != "refused" or node.entry is None:
        return Markup("")
    above = [other for other in rows[: node.row] if other.on_trunk]
    start = above[-1] if above else None
    parent = places.get(node.entry.parents[0]) if node.entry.parents else None
    # Its parent is the trunk just above it; else the line starts at the parent itself, broken.
    direct = start is not None and parent is not None and start.version == parent.version
    if direct or parent is None:
        return shape("path", d=f"M{_TRUNK} {y - 26} C{_TRUNK} {y - 8} {_SIDE - 20} {y} {_SIDE} {y}", class_="edge")
    top = _y(parent)
    lane = _SIDE + 14
    return shape("path", d=f"M{_TRUNK} {top} C{lane} {top + 10} {lane} {top + 20} {lane} {top + ROW} L{lane} {y - 20} "
                 f"C{lane} {y - 6} {lane} {y} {_SIDE} {y}", class_="edge loose")  # fmt: skip


def _dot(node: Node) -> Markup:
    y = _y(node)
    if node.kind == "refused":
        return shape("circle", cx=_SIDE, cy=y, r=4, class_="node refused")
    if node.kind == "seed":
        return shape("circle", cx=_TRUNK, cy=y, r=6, class_="node seed")
    return glyph((_TRUNK, y), node.kind)


def _y(node: Node) -> float:
    return node.row * ROW + ROW / 2
