"""Line plots as SVG: series over one axis each, linear or by decades, with a legend beside.

Few lines of text and numbers, so that a new measurement is a small change of the file.
"""

from collections.abc import Callable, Sequence
from html import escape
from itertools import pairwise
from math import ceil, floor, log10

import msgspec

WIDTH, HEIGHT = 800, 420
LEFT, RIGHT, TOP, BOTTOM = 76, 224, 46, 56
COLORS = ("#1b7f4d", "#2f6fb3", "#c2571a", "#7a4fa3", "#8a8a22", "#b03060", "#4a4a4a", "#1f9ea3")
DECADES_WITH_STEPS = 2.5  # up to so many decades have lines at 2 and 5 as well
LEGEND_LINE = 20
EDGE = 8
MARK_RADIUS = 3

Point = tuple[float, float]


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One line; `color` is a number, so that lines that belong together can share one."""

    label: str
    points: Sequence[Point]
    color: int
    is_dashed: bool = False


class Axis(msgspec.Struct, frozen=True, kw_only=True):
    """What an axis says, and whether it goes by decades; `ticks` are its lines, if given."""

    label: str
    is_log: bool = True
    ticks: Sequence[float] = ()


class _Scale(msgspec.Struct, frozen=True):
    """From a value to its place, between the ends of an axis on the picture."""

    first: float
    last: float
    is_log: bool
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        if self.is_log:
            share = (log10(value) - log10(self.first)) / (log10(self.last) - log10(self.first))
        else:
            share = (value - self.first) / (self.last - self.first)
        return self.begin + share * (self.end - self.begin)


def ticks_of(axis: Axis, values: Sequence[float]) -> list[float]:
    """Return the lines of an axis: the given ones, or round numbers around all values."""
    if axis.ticks:
        return list(axis.ticks)
    if not axis.is_log:
        return _even_ticks(max(values))
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    high = max(high, low + 1)
    if log10(max(values) / min(values)) > DECADES_WITH_STEPS:
        return [10.0**decade for decade in range(low, high + 1)]
    steps = [m * 10.0**decade for decade in range(low, high + 1) for m in (1, 2, 5)]
    below = max((step for step in steps if step <= min(values)), default=steps[0])
    above = min((step for step in steps if step >= max(values)), default=steps[-1])
    return [step for step in steps if below <= step <= max(above, steps[1])]


def _even_ticks(highest: float) -> list[float]:
    """Return about five round numbers from 0 to above the highest."""
    rough = highest / 5
    unit = 10.0 ** floor(log10(rough))
    step = next(m * unit for m in (1, 2, 2.5, 5, 10) if m * unit >= rough)
    return [step * k for k in range(ceil(highest / step) + 1)]


def shown(value: float) -> str:
    """Return a number of an axis in few characters."""
    if value >= 1_000:
        return f"{value:,.0f}"
    return f"{value:g}"


def draw(title: str, across: Axis, up: Axis, series: Sequence[Series]) -> str:
    """Return the whole picture."""
    xs = [x for each in series for x, _ in each.points]
    ys = [y for each in series for _, y in each.points]
    x_ticks, y_ticks = ticks_of(across, xs), ticks_of(up, ys)
    x_of = _Scale(min(*xs, *x_ticks), max(*xs, *x_ticks), across.is_log, LEFT, float(WIDTH - RIGHT))
    y_of = _Scale(
        min(*ys, *y_ticks), max(*ys, *y_ticks), up.is_log, float(HEIGHT - BOTTOM), float(TOP)
    )
    parts = [*_grid(x_of, x_ticks, y_of, y_ticks), *_labels(title, across, up)]
    parts += [_line(each, x_of, y_of) for each in series]
    parts += _legend(series)
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" text-anchor="middle">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n'
        "<style>line { stroke: #dddddd } text { fill: #333333 }</style>\n"
        f"{body}\n</svg>\n"
    )


def _grid(
    x_of: Callable[[float], float],
    x_ticks: Sequence[float],
    y_of: Callable[[float], float],
    y_ticks: Sequence[float],
) -> list[str]:
    parts = []
    for tick in x_ticks:
        x = x_of(tick)
        parts.append(f'<line x1="{x:.0f}" y1="{TOP}" x2="{x:.0f}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{x:.0f}" y="{HEIGHT - BOTTOM + 18}">{shown(tick)}</text>')
    for tick in y_ticks:
        y = y_of(tick)
        parts.append(f'<line x1="{LEFT}" y1="{y:.0f}" x2="{WIDTH - RIGHT}" y2="{y:.0f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{shown(tick)}</text>')
    return parts


def _labels(title: str, across: Axis, up: Axis) -> list[str]:
    middle = (LEFT + WIDTH - RIGHT) / 2
    return [
        f"<title>{escape(title)}</title>",
        f'<text x="{middle:.0f}" y="18" font-size="14">{escape(title)}</text>',
        f'<text x="{middle:.0f}" y="{HEIGHT - 14}">{escape(across.label)}</text>',
        f'<text x="{EDGE}" y="{TOP - 12}" text-anchor="start">{escape(up.label)}</text>',
    ]


def _line(series: Series, x_of: _Scale, y_of: _Scale) -> str:
    color = COLORS[series.color % len(COLORS)]
    places = [(x_of(x), y_of(y)) for x, y in sorted(series.points)]
    dashes = ' stroke-dasharray="6 4"' if series.is_dashed else ""
    lines = "".join(
        f'<path d="M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}" stroke="{color}" '
        f'stroke-width="2"{dashes}/>'
        for (x, y), (to_x, to_y) in pairwise(places)
    )
    marks = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{MARK_RADIUS}" fill="{color}"/>' for x, y in places
    )
    return lines + marks


def _legend(series: Sequence[Series]) -> list[str]:
    parts = []
    x = WIDTH - RIGHT + 16
    for number, each in enumerate(series):
        y = TOP + 8 + LEGEND_LINE * number
        color = COLORS[each.color % len(COLORS)]
        dashes = ' stroke-dasharray="6 4"' if each.is_dashed else ""
        parts.append(
            f'<path d="M{x} {y}h24" stroke="{color}" stroke-width="2"{dashes}/>'
            f'<text x="{x + 30}" y="{y + 4}" text-anchor="start">{escape(each.label)}</text>'
        )
    return parts
