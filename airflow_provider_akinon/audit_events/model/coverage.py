"""Finds the stretches of time that windows leave out (gaps), and those that they cover twice (overlaps)."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_akinon.audit_events.model.window import Window


def gaps(windows: Iterable[Window], span: Window) -> list[Window]:
    """Return the stretches of ``span`` that no window covers, in order."""
    found = []
    reached = span.start
    for window in sorted(windows, key=_edges):
        if window.start > reached:
            found.append(Window(reached, min(window.start, span.end)))
        reached = max(reached, window.end)
        if reached >= span.end:
            return found
    return [*found, Window(reached, span.end)]


def overlaps(windows: Iterable[Window], span: Window) -> list[Window]:
    """Return, in order, the stretches of ``span`` that a window covers although an earlier one does already."""
    found = []
    reached = None
    for window in sorted(windows, key=_edges):
        if reached is not None and window.start < reached:
            start, end = max(window.start, span.start), min(window.end, reached, span.end)
            if start < end:
                found.append(Window(start, end))
        reached = window.end if reached is None else max(reached, window.end)
    return found


def _edges(window: Window) -> tuple[object, object]:
    return window.start, window.end
