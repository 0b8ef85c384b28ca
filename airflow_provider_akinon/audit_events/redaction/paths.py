"""What the paths of a policy lead to in a field's JSON, also in JSON within strings.

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
"""What a path can do, the strongest first."""

States = tuple[dict[str, Any], ...]
"""Where in a tree of paths a walk is; "" leads to the action of a path that ends there."""

_LAYERS = 16  # of text within text; what lies deeper is removed unread


def step(states: States, name: str | None, wildcard: str = "*", *, fold: bool = False) -> States:
    """Return where a member of this name, or an item (None), leads to. ``fold``: the name is a header's."""
    name = name.lower() if name and fold else name
    return tuple(state[each] for state in states for each in {name, wildcard} if each and each in state)


def action_of(states: States) -> str | None:
    """Return the strongest action of the paths that end here."""
    actions = [state.get("") for state in states]
    return next((action for action in ACTIONS if action in actions), None)


def path_edits(
    text: str, states: States, instead: Callable[[str, str], str], *, fold: bool = False, layer: int = 0
) -> list[Edit]:
    """Return the edits of a value's JSON.

    ``instead``: gives the JSON that stands for a value's JSON, after an action. ``fold``: the value's keys are
    headers', in any case.
    """
    if layer >= _LAYERS:
        return [(0, len(text), REDACTED)]
    roots, whole = parse_json(text)
    labels: dict[int, States] = {}  # by where a value starts: where the name beside it leads
    edits: list[Edit] = []
    stack: list[tuple[Node, States, bool]] = [((None, 0, -1, len(text), roots), states, False)]
    while stack:
        node, here, folded = stack.pop()
        kids = node[4] or []
        is_top = kids is roots
        gone = set()
        for place, kid in enumerate(kids):
            name, _, start, end, inner = kid
            below = here if is_top else labels.get(start, ()) + step(here, name, fold=folded)
            names, values = labelled(text, node, kid) if inner else ([], [])
            led = tuple(state for label in names for state in step(here, label, "", fold=folded))
            labels.update({value[2]: led for value in values})
            action = action_of(below)
            if "drop" in (action, action_of(led) if values else None):
                gone.add(place)
            elif action:
                edits.append((start, end, instead(text[start:end], action)))
            elif inner is not None and (below or led):
                stack.append((kid, below, fold and is_top))
            elif below and whole and text[start] == '"':
                coded = unescaped(text[start + 1 : end - 1])
                if coded.text.lstrip()[:1] in ("{", "[", '"'):
                    found = path_edits(coded.text, below, instead, fold=fold and is_top, layer=layer + 1)
                    edits += [(start + 1 + a, start + 1 + b, new) for a, b, new in coded.outer(found)]
        edits += [(*span, "") for span in removals([kid[1:4:2] for kid in kids], gone)] if gone else []
    return merged(text, edits)
