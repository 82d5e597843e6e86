"""Pictures: plain SVG whose every value also stands in it as text, so that neither colour nor sight of it is needed.

Shapes have classes and no styles: the stylesheet gives light and dark their colours. A picture takes its width from
where it stands; text keeps its size, so there is a narrow form of what has many parts.
"""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import count
from typing import NamedTuple

from markupsafe import Markup

_ids = count(1)


class Node(NamedTuple):
    """A place of the flow: its word, how many are there, and how many came in the time that is looked at, if known."""

    word: str
    here: int
    came: int | None
    kind: str = "way"
    link: str = ""


class Series(NamedTuple):
    """Values in the order of time, under a name; the legend says their sum, or what is `told` of them.

    Where there is no value nothing is drawn.
    """

    name: str
    values: Sequence[int | None]
    told: str = ""


def flow(nodes: Sequence[Node], title: str) -> Markup:
    """Return the usual way from left to right, and from top to bottom where there is no room for that."""
    return Markup('<div class="flow">') + _flow_wide(nodes, title) + _flow_narrow(nodes, title) + Markup("</div>")


def _flow_wide(nodes: Sequence[Node], title: str) -> Markup:
    step, width, height = 126, 110, 104
    most = max((node.here for node in nodes), default=0) or 1
    parts = []
    for place, node in enumerate(nodes):
        x, bar = place * step + 8, round(44 * node.here / most)
        arrow = f'<path class="arrow" d="M{x - 14} 40h10m-4 -4l4 4l-4 4"/>' if place else ""
        parts.append(
            f'{arrow}{_begin(node)}<rect class="box {node.kind}" x="{x}" y="8" width="{width}" height="64" rx="6"/>'
            f'<rect class="fill" x="{x + 4}" y="{68 - bar}" width="6" height="{bar}" rx="2"/>'
            f'<text class="count" x="{x + 58}" y="38">{node.here:,}</text>'
            f'<text class="word" x="{x + 58}" y="58">{escape(node.word)}</text>{_end(node)}'
            f'<text class="came" x="{x + 55}" y="92">{_came(node)}</text>'
        )
    return _svg("".join(parts), len(nodes) * step, height, title, "wide")


def _flow_narrow(nodes: Sequence[Node], title: str) -> Markup:
    step, most = 40, max((node.here for node in nodes), default=0) or 1
    parts = []
    for place, node in enumerate(nodes):
        y, bar = place * step + 2, round(316 * node.here / most)
        parts.append(
            f'{_begin(node)}<rect class="box {node.kind}" x="1" y="{y}" width="326" height="34" rx="6"/>'
            f'<rect class="fill" x="6" y="{y + 28}" width="{bar}" height="4" rx="2"/>'
            f'<text class="word left" x="10" y="{y + 20}">{escape(node.word)}</text>'
            f'<text class="count right" x="240" y="{y + 21}">{node.here:,}</text>'
            f'<text class="came right" x="318" y="{y + 21}">{_came(node)}</text>{_end(node)}'
        )
    return _svg("".join(parts), 328, len(nodes) * step + 4, title, "narrow")


def _came(node: Node) -> str:
    return "" if node.came is None else f"+{node.came:,}"


def _begin(node: Node) -> str:
    return f'<a href="{escape(node.link)}">' if node.link else "<g>"


def _end(node: Node) -> str:
    return "</a>" if node.link else "</g>"


_MARKS = ("circle", "square", "diamond", "bar")


def lines(series: Sequence[Series], labels: Sequence[str], title: str) -> Markup:
    """Return counts over time, a line each with a mark and a dash of its own; `labels` are those of the columns."""
    wide, narrow = Frame(640, 168, 6, 4), Frame(328, 168, 3, 2)
    pictures = _lines(series, labels, title, wide, "lines wide") + _lines(series, labels, title, narrow, "lines narrow")
    return Markup("<div>") + pictures + Markup("</div>")


class Frame(NamedTuple):
    """How lines are drawn: width, where 0 is, how many labels at most, and how many names stand in a row."""

    width: int
    bottom: int
    labels: int
    beside: int


def _lines(series: Sequence[Series], labels: Sequence[str], title: str, frame: Frame, kind: str) -> Markup:
    width, bottom, left, top = frame.width, frame.bottom, 44, 12
    most = max((value for each in series for value in each.values if value is not None), default=0) or 1
    across = (width - left - 12) / max(len(labels) - 1, 1)
    parts = [
        f'<line class="grid" x1="{left}" y1="{y}" x2="{width - 12}" y2="{y}"/><text class="axis right" x="{left - 6}" '
        f'y="{y + 4}">{value:,}</text>'
        for y, value in ((bottom, 0), (top, most))
    ]
    every = max(1, -(-len(labels) // frame.labels))
    parts += [
        f'<text class="axis" x="{left + place * across:.0f}" y="{bottom + 18}">{escape(label)}</text>'
        for place, label in enumerate(labels) if place % every == 0 and place * across < width - left - 40
    ]  # fmt: skip
    for number, each in enumerate(series):
        points = [
            None if value is None else (left + place * across, bottom - (bottom - top) * value / most)
            for place, value in enumerate(each.values)
        ]
        for run in _runs(points):
            told = " ".join(f"{x:.1f},{y:.1f}" for x, y in run)
            parts.append(f'<polyline class="line s{number}" points="{told}"/>')
            if len(run) == 1:  # a line of one point cannot be seen
                parts.append(_mark(_MARKS[number % 4], *run[0], number))
        marked = points[:: max(1, len(points) // (width // 26))]
        parts += [_mark(_MARKS[number % 4], *point, number) for point in marked if point is not None]
        row, column = divmod(number, frame.beside)
        x, y = left + column * (width - left) / frame.beside, bottom + 38 + row * 22
        parts.append(_mark(_MARKS[number % 4], x, y, number))
        parts.append(
            f'<text class="legend" x="{x + 12:.0f}" y="{y + 4}">{escape(each.name)} '
            f"{escape(each.told) or format(sum(filter(None, each.values)), ',')}</text>"
        )
    rows = -(-len(series) // frame.beside)
    return _svg("".join(parts), width, bottom + 30 + 22 * max(rows, 1), title, kind)


def _runs(points: Sequence[tuple[float, float] | None]) -> list[list[tuple[float, float]]]:
    """Return the points that stand side by side, each run of them for itself."""
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if point is not None:
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _mark(shape: str, x: float, y: float, number: int) -> str:
    if shape == "circle":
        return f'<circle class="mark s{number}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
    if shape == "square":
        return f'<rect class="mark s{number}" x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6"/>'
    if shape == "diamond":
        return f'<path class="mark s{number}" d="M{x:.1f} {y - 4.5:.1f}l4.5 4.5l-4.5 4.5l-4.5 -4.5z"/>'
    return f'<rect class="mark s{number}" x="{x - 1.5:.1f}" y="{y - 4:.1f}" width="3" height="8"/>'


def bars(counts: Mapping[str, int], title: str, marked: str = "") -> Markup:
    """Return a bar for each name, in order; the one that is `marked` is drawn stronger."""
    width, row = 356, 24
    most = max(counts.values(), default=0) or 1
    parts = []
    for place, (name, value) in enumerate(counts.items()):
        y = place * row + 4
        kind, long = "fill strong" if name == marked else "fill", round(190 * value / most)
        parts.append(
            f'<text class="axis right" x="104" y="{y + 13}">{escape(name)}</text>'
            f'<rect class="{kind}" x="112" y="{y + 2}" width="{max(long, int(value > 0))}" '
            f'height="14" rx="2"/><text class="axis left" x="{118 + long}" y="{y + 14}">{value:,}</text>'
        )
    return _svg("".join(parts), width, len(counts) * row + 8, title, "bars")


def _svg(content: str, width: int, height: int, title: str, kind: str) -> Markup:
    name = f"picture-{next(_ids)}"
    return Markup(  # noqa: S704 -- everything that was given is escaped above
        f'<svg class="chart {kind}" viewBox="0 0 {width} {height}" role="img" aria-labelledby="{name}">'
        f'<title id="{name}">{escape(title)}</title>{content}</svg>'
    )
