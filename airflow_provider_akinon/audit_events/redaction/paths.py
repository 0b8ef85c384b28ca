"""Applies the paths of a policy to a field's JSON, also to JSON within strings.

This module follows paths; it knows no credentials, and does not look into text that is no JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_akinon.audit_events.redaction.loose_text import REDACTED
from airflow_provider_akinon.audit_events.redaction.splicing import (
    Edit,
    Node,
    labelled,
    merged,
    parse_json,
    removals,
    unescaped,
)

ACTIONS = ("drop", "mask", "hmac")
"""The actions that a path can have, the strongest first."""

States = tuple[dict[str, Any], ...]
"""The branches of a tree of paths that a walk has reached; in each, "" leads to the action of a path that ends
there."""
Instead = Callable[[str, str], str]
"""A function that takes a value's JSON and an action, and returns the JSON that replaces the value's."""

_LAYERS = 16  # of text within text; what lies deeper is removed unread


def step(states: States, name: str | None, wildcard: str = "*", *, fold: bool = False) -> States:
    """Return the branches that a member's name, or an item (None), leads to. ``fold``: it is a header's name."""
    name = name.lower() if name and fold else name
    return tuple(state[each] for state in states for each in {name, wildcard} if each and each in state)


def action_of(states: States) -> str | None:
    """Return the strongest action of the paths that end here."""
    actions = [state.get("") for state in states]
    return next((action for action in ACTIONS if action in actions), None)


def path_edits(text: str, states: States, instead: Instead, *, fold: bool = False, layer: int = 0) -> list[Edit]:
    """Return the edits of a value's JSON. ``fold``: its keys are names of headers, in upper or lower case."""
    roots, whole = parse_json(text)
    labels: dict[int, States] = {}  # by where a value starts: where the name beside it leads
    edits: list[Edit] = []
    stack: list[tuple[Node, States, bool]] = [((None, 0, -1, len(text), roots), states, False)]
    while stack:
        node, here, folded = stack.pop()
        children = node[4] or []
        is_top = children is roots
        gone = set()
        for place, child in enumerate(children):
            name, _, start, end, inner = child
            below = here if is_top else labels.get(start, ()) + step(here, name, fold=folded)
            led = _led_beside(text, node, child, here, labels, fold=folded) if inner else ()
            action = action_of(below)
            if "drop" in (action, action_of(led)):
                gone.add(place)
            elif action:
                edits.append((start, end, instead(text[start:end], action)))
            elif inner is not None and (below or led):
                stack.append((child, below, fold and is_top))
            elif below and whole:
                edits += _within(text, start, end, below, instead, fold=fold and is_top, layer=layer + 1)
        if gone:
            edits += [(*span, "") for span in removals([child[1:4:2] for child in children], gone)]
    return merged(text, edits)


def _led_beside(
    text: str, parent: Node, node: Node, here: States, labels: dict[int, States], *, fold: bool
) -> States:
    """Return the branches that names beside a value lead to, as in ``["Cookie", …]``, and note them for the value."""
    names, values = labelled(text, parent, node)
    led = tuple(state for label in names for state in step(here, label, "", fold=fold))
    labels.update({value[2]: led for value in values})
    return led


def _within(
    text: str, start: int, end: int, states: States, instead: Instead, *, fold: bool, layer: int
) -> list[Edit]:
    """Return the edits of a JSON string's content, if that is JSON as well."""
    coded = unescaped(text[start + 1 : end - 1])
    if text[start] != '"' or coded.text.lstrip()[:1] not in ("{", "[", '"'):
        return []
    found = [(0, len(coded.text), REDACTED)]
    if layer < _LAYERS:
        found = path_edits(coded.text, states, instead, fold=fold, layer=layer)
    return [(start + 1 + a, start + 1 + b, new) for a, b, new in coded.outer(found)]
