"""Screens as SVG: one of them as a picture, many of them as a moving one.

Rows are cut into runs of one look, each placed by its column, so that a viewer's font moves nothing. In a moving picture a run
is drawn once for all frames that show it, and runs that come and go together share one animation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from xml.sax.saxutils import escape

from rich.cells import cell_len
from rich.color import Color
from rich.style import Style
from textual.app import App
from textual.color import Color as ThemeColor

CELL_WIDTH, LINE_HEIGHT, FONT_SIZE = 12.04, 23, 20
"""Pixels; DejaVu Sans Mono, Menlo and their like are 0.602 of their size wide."""
MARGIN = 12
FONTS = "'DejaVu Sans Mono', Menlo, Monaco, Consolas, 'Liberation Mono', monospace"
BLOCKS = "▁▂▃▄▅▆▇█"
"""Bars of one to eight eighths, drawn as rectangles: the lines of a font leave gaps between them."""
CAPTION_COLOUR = "#9a9a9a"
_WORDS = re.compile(r"\S+(?: \S+)*")
_BARS = re.compile(f"([{BLOCKS}])\\1*|[^{BLOCKS}]+")


@dataclass(frozen=True, slots=True)
class Run:
    """Text of one look on one line."""

    row: int
    column: int
    text: str
    colour: str
    background: str
    is_bold: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """What a screen showed, with a line below it for the reader of the picture."""

    width: int
    height: int
    background: str
    runs: frozenset[Run]
    caption: str = ""


def frame_of(app: App[None], caption: str = "") -> Frame:
    """What an app's screen shows now."""
    theme = app.theme_variables
    ground, ink = (ThemeColor.parse(theme[name]).rgb for name in ("background", "foreground"))
    background, colour = (f"#{bytes(each).hex()}" for each in (ground, ink))
    width, height = app.size
    runs = set()
    for row, strip in enumerate(app.screen._compositor.render_strips(app.size)):
        column = 0
        for style, segments in groupby(strip, key=lambda segment: segment.style or Style.null()):
            text = "".join(segment.text for segment in segments)
            fore, back = _hex(style.color, colour), _hex(style.bgcolor, background)
            if style.reverse:
                fore, back = back, fore
            if text.strip() or back != background:
                runs.add(Run(row, column, text, fore, back, bool(style.bold)))
            column += cell_len(text)
    return Frame(width, height, background, frozenset(runs), caption)


def _hex(colour: Color | None, default: str) -> str:
    return default if colour is None or colour.is_default else colour.get_truecolor().hex


def still(frame: Frame) -> str:
    """A picture."""
    return moving([frame], [1.0])


def moving(frames: Sequence[Frame], seconds: Sequence[float], shown: int = 0) -> str:
    """A moving picture that begins again when it has ended.

    Args:
        frames: Of one size.
        seconds: How long each is shown.
        shown: The frame that a viewer shows which cannot move pictures.
    """
    first = frames[0]
    has_captions = any(frame.caption for frame in frames)
    ends = [sum(seconds[: number + 1]) for number in range(len(frames))]
    elements: dict[str, list[int]] = {}
    for number, frame in enumerate(frames):
        for run in sorted(frame.runs, key=lambda run: (run.row, run.column)):
            for element in drawn(run, frame.background):
                elements.setdefault(element, []).append(number)
        if frame.caption:
            elements.setdefault(_text(frame.height + 0.6, 0, frame.caption, CAPTION_COLOUR), []).append(number)
    together: dict[tuple[int, ...], list[str]] = {}
    for element, numbers in elements.items():
        together.setdefault(tuple(numbers), []).append(element)
    width = first.width * CELL_WIDTH + 2 * MARGIN
    height = (first.height + (1.3 if has_captions else 0)) * LINE_HEIGHT + 2 * MARGIN
    body = [_group(numbers, content, ends, shown) for numbers, content in together.items()]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}">',
            f"<style>text{{font:{FONT_SIZE}px {FONTS};white-space:pre}}.b{{font-weight:bold}}"
            "path{shape-rendering:crispEdges}</style>",
            f'<rect width="100%" height="100%" rx="8" fill="{first.background}"/>',
            f'<g transform="translate({MARGIN} {MARGIN})">',
            *body,
            "</g>",
            "</svg>",
            "",
        ]
    )


def _group(numbers: tuple[int, ...], content: list[str], ends: Sequence[float], shown: int) -> str:
    """Elements that are shown in the same frames, with their animation unless that is always."""
    inner = "".join(content)
    if len(numbers) == len(ends):
        return inner
    starts = [0.0, *ends[:-1]]
    values, times = [], []
    for is_shown, same in groupby(range(len(ends)), key=lambda number: number in set(numbers)):
        values.append("inline" if is_shown else "none")
        times.append(f"{starts[next(same)] / ends[-1]:.4f}".rstrip("0").rstrip("."))
    return (
        f'<g display="{"inline" if shown in numbers else "none"}"><animate attributeName="display" dur="{ends[-1]:.1f}s"'
        f' repeatCount="indefinite" calcMode="discrete" values="{";".join(values)}" keyTimes="{";".join(times)}"/>'
        f"{inner}</g>"
    )


def drawn(run: Run, ground: str) -> Iterator[str]:
    """The elements of a run: its background where it is not the picture's, then words and bars."""
    if run.background != ground:
        yield _box(run.row, run.column, cell_len(run.text), 1.0, run.background)
    column = run.column
    for part in _BARS.finditer(run.text):
        text = part[0]
        if text[0] in BLOCKS:
            yield _box(run.row, column, len(text), (BLOCKS.index(text[0]) + 1) / len(BLOCKS), run.colour)
        else:
            for words in _WORDS.finditer(text):
                before = cell_len(text[: words.start()])
                yield _text(run.row, column + before, words[0], run.colour, is_bold=run.is_bold)
        column += cell_len(text)


def _box(row: float, column: int, cells: int, share: float, colour: str) -> str:
    """The lower share of some cells."""
    x, width = column * CELL_WIDTH, cells * CELL_WIDTH
    height = LINE_HEIGHT * share
    y = (row + 1) * LINE_HEIGHT - height
    return f'<path fill="{colour}" d="M{x:.1f} {y:.1f}h{width:.1f}v{height:.1f}h-{width:.1f}z"/>'


def _text(row: float, column: int, text: str, colour: str, *, is_bold: bool = False) -> str:
    x, y = column * CELL_WIDTH, row * LINE_HEIGHT + FONT_SIZE * 0.92
    length = f' textLength="{cell_len(text) * CELL_WIDTH:.1f}"' if cell_len(text) > 1 else ""
    weight = ' class="b"' if is_bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}"{weight}{length}>{escape(text)}</text>'
