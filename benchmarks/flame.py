"""Flame graphs: stacks that were sampled, as a picture of who calls whom and how often that was so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


__all__ = ["Frame", "draw", "drawn_within", "grown", "stacks"]


_WIDTH = 1200
_ROW = 17
_EDGE = 10
_TOP = 52
_LETTER = 6.6
_MOST_BYTES = 300_000
_COLOURS = {"consumer": "#2f6db3", "aiokafka": "#c9b27c", "": "#c4ccd4"}


@dataclass(slots=True)
class Frame:
    """A function where it was called from: how many samples were in it, and what it called."""

    name: str
    samples: int = 0
    calls: dict[str, Frame] = field(default_factory=dict)


def stacks(raw: str) -> dict[tuple[str, ...], int]:
    """Stacks with their samples out of lines as samplers write them: `outer;inner;innermost 42`."""
    found: dict[tuple[str, ...], int] = {}
    for line in raw.splitlines():
        names, _, count = line.rpartition(" ")
        if names and count.isdecimal():
            stack = tuple(names.split(";"))
            found[stack] = found.get(stack, 0) + int(count)
    return found


def grown(samples: Mapping[tuple[str, ...], int], *, least_share: float = 0.002) -> Frame:
    """The tree of all stacks; what is rarer than a share of all is left out, and its caller keeps the samples."""
    root = Frame("all")
    for stack, count in samples.items():
        root.samples += count
        at = root
        for name in stack:
            at = at.calls.setdefault(name, Frame(name))
            at.samples += count
    _prune(root, root.samples * least_share)
    return root


def drawn_within(samples: Mapping[tuple[str, ...], int], title: str, unit: str) -> str:
    """The picture of stacks, without what is so rare that the file would get large for it."""
    share = 0.001
    while len((drawn := draw(grown(samples, least_share=share), title, unit)).encode()) > _MOST_BYTES:
        share *= 1.5
    return drawn


def draw(root: Frame, title: str, unit: str) -> str:
    """The picture: outermost calls at the top; a frame says its share when it is pointed at."""
    parts: list[str] = []
    depth = _place(parts, root.calls.values(), 0, _EDGE, (_WIDTH - 2 * _EDGE) / max(1, root.samples), root.samples)
    height = _TOP + (depth + 1) * _ROW + _EDGE
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        'font-family="ui-monospace, monospace" font-size="11" fill="#222">'
    )
    legend = "blue: this program; sand: aiokafka; grey: other libraries and the interpreter"
    words = (
        f'<text x="{_EDGE}" y="20" font-size="15" font-weight="600">{escape(title)}</text>'
        f'<text x="{_EDGE}" y="38" fill="#555">{root.samples:,} {unit}; {legend}</text>'
    )
    return "\n".join((head, '<rect width="100%" height="100%" fill="#fff"/>', words, *parts, "</svg>", ""))


def _prune(frame: Frame, least: float) -> None:
    frame.calls = {name: one for name, one in frame.calls.items() if one.samples >= least}
    for one in frame.calls.values():
        _prune(one, least)


def _place(parts: list[str], frames: Iterable[Frame], level: int, left: float, scale: float, whole: int) -> int:
    deepest = level
    for frame in sorted(frames, key=lambda one: -one.samples):
        width = frame.samples * scale
        said = escape(f"{frame.name}: {frame.samples / whole:.1%}")
        y = _TOP + level * _ROW
        colour = next(colour for part, colour in _COLOURS.items() if part in frame.name)
        letters = int((width - 4) / _LETTER)
        name = frame.name if letters >= len(frame.name) else f"{frame.name[: letters - 1]}…" if letters > 3 else ""
        ink = ' fill="#fff"' if colour == _COLOURS["consumer"] else ""
        label = f'<text x="{left + 2:.1f}" y="{y + 12}"{ink}>{escape(name)}</text>' if name else ""
        parts.append(
            f'<g><title>{said}</title><rect x="{left:.1f}" y="{y}" width="{max(0.5, width - 0.5):.1f}" '
            f'height="{_ROW - 1}" fill="{colour}"/>{label}</g>'
        )
        deepest = max(deepest, _place(parts, frame.calls.values(), level + 1, left, scale, whole))
        left += width
    return deepest
