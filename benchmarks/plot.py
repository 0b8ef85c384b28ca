"""Draws ``results.json``: time and memory against the number of events, as an SVG for the documentation."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PLOT = HERE.parent / "docs" / "_static" / "benchmark.svg"

_STYLES: dict[str, dict[str, Any]] = {
    "ours": {"color": "#1b5fc1", "linewidth": 2.6, "marker": "o", "zorder": 5},
    "ours verbatim": {"color": "#1b5fc1", "linestyle": "--", "marker": "o", "markersize": 4},
    "floor": {"color": "#555555", "linestyle": "--", "marker": "o", "markersize": 4},
    "gzip once": {"color": "#555555", "linestyle": ":", "marker": "o", "markersize": 4},
    "requests": {"color": "#c2620a", "marker": "s"},
    "requests × 8": {"color": "#c2620a", "linestyle": "--", "marker": "s"},
    "HttpOperator": {"color": "#a3266e", "marker": "D"},
    "dlt": {"color": "#2b8a57", "marker": "^"},
    "dlt × 8": {"color": "#2b8a57", "linestyle": "--", "marker": "^"},
}
_LABELS = {
    "ours": "this provider, 8 connections",
    "ours verbatim": "this provider, nothing redacted",
    "floor": "floor: the same pages fetched, nothing kept",
    "gzip once": "gzip of the same bytes, once",
    "requests": "requests loop",
    "requests × 8": "requests, 8 threads",
    "HttpOperator": "HttpOperator + S3Hook",
    "dlt": "dlt rest_api",
    "dlt × 8": "dlt rest_api, 8 threads",
}


def draw(results: list[dict[str, Any]], target: Path) -> None:
    """Draw the cases in which skipping rows costs nothing, and write the SVG to ``target``."""
    plain = [result for result in results if not result["case"]["skip_us"]]
    matplotlib.rcParams.update(
        {"svg.hashsalt": "benchmark", "font.family": "DejaVu Sans", "font.size": 10, "axes.titlesize": 11}
    )
    figure, panels = pyplot.subplots(1, 3, figsize=(12.5, 4.9), facecolor="white", layout="constrained")
    for panel, latency in zip(panels, (0, 50), strict=False):
        title = f"Seconds, {latency} ms a request" if latency else "Seconds, no latency"
        _panel(panel, [one for one in plain if one["case"]["latency_ms"] == latency], "seconds", title)
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())
    memory = [
        one for one in plain if one["case"]["latency_ms"] == 0 and one["contestant"] not in ("floor", "gzip once")
    ]
    _panel(panels[2], memory, "memory_mib", "Memory beyond an empty run, MiB")
    panels[2].set_ylim(bottom=0)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, metadata={"Date": None})


def _panel(panel: Axes, results: list[dict[str, Any]], value: str, title: str) -> None:
    for contestant, style in _STYLES.items():
        points = sorted((one["case"]["events"], one[value]) for one in results if one["contestant"] == contestant)
        if points:
            panel.plot(*zip(*points, strict=True), label=_LABELS[contestant], **{"markersize": 5, **style})
    panel.set_title(title, loc="left")
    panel.set_xscale("log")
    panel.set_xlabel("events in the window")
    panel.set_xticks(ticks := sorted({one["case"]["events"] for one in results}))
    panel.set_xticklabels([f"{tick // 1000:,} k" if tick < 1_000_000 else f"{tick / 1e6:g} M" for tick in ticks])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.grid(color="#dddddd", linewidth=0.7)
    panel.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Draw the results that were written last, or those of the file that is named."""
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    draw(json.loads(source.read_text())["results"], PLOT)


if __name__ == "__main__":
    main()
