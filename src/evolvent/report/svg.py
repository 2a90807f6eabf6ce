"""Drawing: a few functions that write SVG.

Text and attributes are escaped here, once. Colours are names of CSS classes, so that light and dark mode are the
page's matter.

Not here: what is drawn (`charts.py`, `lineage.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

__all__ = ["Point", "drawing", "join", "nice_ticks", "path", "shape", "text"]

Point = tuple[float, float]


def join(parts: Sequence[Markup]) -> Markup:
    """The parts, one after the other."""
    return Markup("").join(parts)


def _fixed(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def shape(name: str, content: Markup | str = "", **attributes: object) -> Markup:
    """One element; ``class_`` is written ``class``, ``_`` in names becomes ``-``, text content is escaped."""
    written = join(
        [
            Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _fixed(value))
            for key, value in attributes.items()
            if value is not None
        ]
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), written, escape(content))


def drawing(width: float, height: float, title: str, desc: str, parts: Sequence[Markup], *, class_: str = "") -> Markup:
    """An SVG with a title and a description for those who do not see it. Scales down, never up."""
    inner = [shape("title", title), shape("desc", desc), *parts]
    return shape(
        "svg",
        join(inner),
        viewBox=f"0 0 {_fixed(width)} {_fixed(height)}",
        width=width,
        height=height,
        role="img",
        aria_label=f"{title}. {desc}",
        class_=class_ or None,
    )


def text(at: Point, content: str, class_: str = "t", anchor: str = "start") -> Markup:
    """A line of text."""
    return shape("text", content, x=at[0], y=at[1], class_=class_, text_anchor=anchor)


def path(points: Sequence[Point], class_: str, closed: bool = False) -> Markup:
    """Straight lines through the points."""
    steps = " ".join(
        f"{'M' if i == 0 else 'L'}{_fixed(float(x))} {_fixed(float(y))}" for i, (x, y) in enumerate(points)
    )
    return shape("path", d=steps + (" Z" if closed else ""), class_=class_)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers that lie within [low, high]."""
    span = max(high - low, 1e-9)
    unit = 1e-9
    for step in (m * 10.0**e for e in range(-9, 13) for m in (1, 2, 5)):
        unit = step
        if span / step <= count:
            break
    first = int(-(-low // unit))
    return [i * unit for i in range(first, int(high // unit) + 1)]
