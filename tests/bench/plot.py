"""The headlines as a picture: a panel for each, a line for each system, with the median between the least and most."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import NullFormatter

from .figures import Headline

COLUMNS = 2
PANEL_INCHES = (5.0, 1.8)
LOWEST = 10
"""A logarithmic axis has no room for nothing: spreads are shown down to this part of the median."""

COLOURS = ("tab:blue", "tab:red", "black", "gray", "tab:brown", "tab:cyan")


def draw(headlines: Sequence[Headline], path: Path) -> None:
    """Write a picture, without dates.

    Args:
        headlines: what to show, where it is meant to be shown.
        path: where to; its suffix says what kind of picture it is.
    """
    shown = [headline for headline in headlines if headline.drawn]
    names = list(dict.fromkeys(name for headline in shown for name in headline.values))
    lines = -(-len(shown) // COLUMNS)
    # The same text gives the same file: ids come from the salt, not from chance.
    with mpl.rc_context({"svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 9}):
        canvas = Canvas(figsize=(COLUMNS * PANEL_INCHES[0], lines * PANEL_INCHES[1]), layout="constrained")
        panels = canvas.subplots(lines, COLUMNS, squeeze=False)
        for panel in panels.flat[len(shown) :]:
            panel.set_axis_off()
        for panel, headline in zip(panels.flat, shown, strict=False):
            _fill(panel, headline, names)
        canvas.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _fill(panel: Any, headline: Headline, names: Sequence[str]) -> None:
    for line, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
        figure = headline.values.get(name)
        if figure is None or figure.median <= 0:
            continue
        low, high = max(min(figure.rounds), figure.median / LOWEST), max(figure.rounds)
        panel.plot((low, high), (line, line), color=colour, linewidth=5, alpha=0.3)
        panel.plot(figure.median, line, "o", color=colour)
        text = format(figure.median, headline.form)
        panel.annotate(text, (high, line), (6, 0), textcoords="offset points", va="center")
    panel.set_title(headline.title, loc="left", fontsize=10)
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.set_xscale("log")
    panel.margins(x=0.15)
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.grid(axis="x", which="both", linewidth=0.3)
    panel.spines[["top", "right", "left"]].set_visible(False)
