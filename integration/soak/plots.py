"""Line plots over time as SVG, with spans behind them. Pure: numbers in, text out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 960, 240
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 28
"""pixels around the plot itself"""

COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626", "#475569")
GAP_S = 4.0
"""seconds without a sample from which on a line is interrupted: there was none"""
TICKS = 5

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its name, and (seconds, value) in order of time."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time behind the lines: seconds from and to, and what was then."""

    begin_s: float
    end_s: float
    label: str


def plot(
    lines: Sequence[Line], spans: Sequence[Span], end_s: float, format_value: Callable[[float], str]
) -> str:
    """An SVG from second 0 to `end_s`. Values begin at 0."""
    most = max((value for line in lines for _, value in line.points), default=0.0)
    step = nice_step(most / TICKS)
    top = step * max(1, math.ceil(most / step))

    def x(time_s: float) -> float:
        return LEFT + min(max(time_s / end_s, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)

    bottom = HEIGHT - BOTTOM
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
    for span in spans:
        left, width = x(span.begin_s), max(2.0, x(span.end_s) - x(span.begin_s))
        where = f'x="{left:.1f}" y="{TOP}" width="{width:.1f}" height="{bottom - TOP}"'
        parts.append(f'<rect class="fault" {where}><title>{escape(span.label)}</title></rect>')
    for tick in range(round(top / step) + 1):
        at = y(tick * step)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        label = escape(format_value(tick * step))
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{label}</text>')
    seconds = nice_step(end_s / 10)
    for tick in range(int(end_s / seconds) + 1):
        at = x(tick * seconds)
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{tick * seconds:g} s</text>')
    for line, colour in zip(lines, COLOURS * len(lines), strict=False):
        path = " ".join(
            f"{'M' if is_first else 'L'}{x(time_s):.1f} {y(value):.1f}"
            for is_first, time_s, value in _with_gaps(line.points)
        )
        parts.append(f'<path d="{path}" stroke="{colour}"><title>{escape(line.name)}</title></path>')
    return "".join((*parts, "</svg>"))


def legend(names: Sequence[str]) -> str:
    """What the colours of a plot mean, as HTML."""
    return " ".join(
        f'<span class="key"><i style="background:{colour}"></i>{escape(name)}</span>'
        for name, colour in zip(names, COLOURS * len(names), strict=False)
    )


def nice_step(step: float) -> float:
    """The next 1, 2 or 5 times a power of ten that is not below `step`; 1 for 0."""
    if step <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))


def _with_gaps(points: Sequence[Point]) -> list[tuple[bool, float, float]]:
    """Each point, and whether a new piece of the line begins there."""
    last_s = -math.inf
    pieces = []
    for time_s, value in points:
        pieces.append((time_s - last_s > GAP_S, time_s, value))
        last_s = time_s
    return pieces
