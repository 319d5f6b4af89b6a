"""Latency against rate as an SVG, without a library."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 760, 420
_LEFT = 70
_RIGHT = 190
_TOP = 30
_BOTTOM = 50
_COLOURS = ("#1f5fbf", "#d9822b", "#3a9e5c", "#a83a6e", "#666666", "#7a5fc0")

_Place = Callable[[float, float], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Curve:
    name: str
    points: Sequence[tuple[float, float]]  # rate, ms
    dashed: bool = False


def svg(title: str, lines: Sequence[Curve]) -> str:
    """Both axes are logarithmic."""
    points = [point for line in lines for point in line.points if min(point) > 0]
    if not points:
        return ""
    across, up = _Scale([x for x, _ in points]), _Scale([y for _, y in points])

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + across.part(x) * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - up.part(y) * (_HEIGHT - _TOP - _BOTTOM),
        )

    drawn = [*_frame(title), *_grid(across, up, place)]
    for number, line in enumerate(lines):
        drawn += _drawn(line, _COLOURS[number % len(_COLOURS)], number, place)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">'
    return "\n".join([head, *drawn, "</svg>", ""])


class _Scale:
    def __init__(self, values: Iterable[float]) -> None:
        ordered = sorted(values)
        self.low, self.high = math.log10(ordered[0] * 0.8), math.log10(ordered[-1] * 1.25)

    def part(self, value: float) -> float:
        return (math.log10(value) - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        found = [step * 10.0**power for power in range(-3, 8) for step in (1, 2, 5)]
        return [value for value in found if self.low <= math.log10(value) <= self.high]


def _frame(title: str) -> list[str]:
    return [
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="18" font-size="13" font-weight="bold">{escape(title)}</text>',
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 12}" font-size="12" text-anchor="middle">'
        "events per second</text>",
        f'<text x="16" y="{_HEIGHT / 2}" font-size="12" text-anchor="middle" '
        f'transform="rotate(-90 16 {_HEIGHT / 2})">milliseconds</text>',
    ]


def _grid(across: _Scale, up: _Scale, place: _Place) -> list[str]:
    drawn = []
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for x in across.ticks():
        at = place(x, 10**up.low)[0]
        drawn.append(f'<line x1="{at:.1f}" y1="{_TOP}" x2="{at:.1f}" y2="{bottom}" stroke="#e4e4e4"/>')
        drawn.append(f'<text x="{at:.1f}" y="{bottom + 16}" font-size="11" text-anchor="middle">{x:,.0f}</text>')
    for y in up.ticks():
        at = place(10**across.low, y)[1]
        drawn.append(f'<line x1="{_LEFT}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}" stroke="#e4e4e4"/>')
        drawn.append(f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" font-size="11" text-anchor="end">{y:g}</text>')
    return drawn


def _drawn(line: Curve, colour: str, number: int, place: _Place) -> list[str]:
    spots = [place(*point) for point in sorted(line.points) if min(point) > 0]
    dash = ' stroke-dasharray="5 4"' if line.dashed else ""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    right, at = _WIDTH - _RIGHT + 14, _TOP + 14 + 20 * number
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in spots),
        f'<line x1="{right}" y1="{at}" x2="{right + 22}" y2="{at}" stroke="{colour}" stroke-width="2"{dash}/>',
        f'<text x="{right + 28}" y="{at + 4}" font-size="12">{escape(line.name)}</text>',
    ]
