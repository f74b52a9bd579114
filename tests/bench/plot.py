"""The headlines as a picture: a panel for each, a bar for each system, least and most as a whisker."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from .figures import Headline

COLUMNS = 3
PANEL_INCHES = (4.2, 1.9)
COLOURS = ("tab:blue", "tab:red", "tab:gray", "silver", "tan", "tab:cyan")


def draw(headlines: Sequence[Headline], path: Path) -> None:
    """Write an SVG, without dates.

    Args:
        headlines: what to show; those of one system only are left out.
        path: where to.
    """
    headlines = [headline for headline in headlines if len(headline.values) > 1]
    lines = -(-len(headlines) // COLUMNS)
    # The same text gives the same file: ids come from the salt, not from chance.
    with mpl.rc_context({"svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 9}):
        canvas = Canvas(figsize=(COLUMNS * PANEL_INCHES[0], lines * PANEL_INCHES[1]), layout="constrained")
        panels = canvas.subplots(lines, COLUMNS, squeeze=False)
        for panel in panels.flat[len(headlines) :]:
            panel.set_axis_off()
        for panel, headline in zip(panels.flat, headlines, strict=False):
            _fill(panel, headline)
        canvas.savefig(path, metadata={"Date": None})


def _fill(panel: Any, headline: Headline) -> None:
    names, figures = list(headline.values), list(headline.values.values())
    medians = [max(0.0, figure.median) for figure in figures]
    below = [max(0.0, middle - min(figure.rounds)) for middle, figure in zip(medians, figures, strict=True)]
    above = [max(0.0, max(figure.rounds) - middle) for middle, figure in zip(medians, figures, strict=True)]
    bars = panel.barh(names, medians, xerr=(below, above), color=COLOURS[: len(names)], ecolor="dimgray", capsize=2)
    panel.bar_label(bars, [format(middle, headline.form) for middle in medians], padding=4)
    panel.set_title(headline.title, loc="left", fontsize=10)
    panel.set_xscale("log")
    panel.set_xlim(min(middle for middle in medians if middle) / 3, 4 * max(map(max, (f.rounds for f in figures))))
    panel.xaxis.set_visible(False)
    panel.spines[["top", "right", "bottom"]].set_visible(False)
    panel.invert_yaxis()
