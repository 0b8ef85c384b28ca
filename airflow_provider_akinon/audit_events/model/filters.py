"""Filters say which events of a window are asked for.

The API ignores, without a word, a parameter that it does not know or that is empty, and then hands over
everybody's events. So this module refuses unknown names, empty values and values that are not integers before
anything is sent, and checks what comes back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from airflow_provider_akinon.audit_events.errors import InvalidInput

_INTEGER = re.compile(r"-?[0-9]+")


class Filters(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The values that an event must have to be asked for; None means any value.

    ``user`` is the ``user.pk`` of an event, ``content_type`` and ``object_id`` its fields of that name.
    """

    user: int | None = None
    """The ``pk`` of an event's ``user``; left out where it was not asked for."""
    content_type: int | None = None
    """The event's ``content_type``; left out where it was not asked for."""
    object_id: int | None = None
    """The event's ``object_id``; left out where it was not asked for."""

    @classmethod
    def parse(cls, given: object) -> Filters:
        """Return the filters of a mapping such as ``{"user": 42}``; integers may come as text.

        :raises InvalidInput: a name is unknown, or a value is empty or not an integer. Names all of them.
        """
        if given is None:
            return cls()
        if isinstance(given, Filters):
            return given
        if not isinstance(given, Mapping):
            raise InvalidInput(f"filters={given!r} is not a mapping; write it like {{'user': 42}}")
        names = cls.__struct_fields__
        known = ", ".join(names)
        problems = [
            f"filters has the unknown name {name!r}; the API would ignore it. Known: {known}"
            for name in given
            if name not in names
        ]
        values: dict[str, int] = {}
        for name in names:
            if name not in given:
                continue
            value = given[name]
            if isinstance(value, int) and not isinstance(value, bool):
                values[name] = value
            elif isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
                values[name] = int(value)
            else:
                problems.append(f"filters[{name!r}]={value!r} is not an integer; give one, or leave the name out")
        if problems:
            raise InvalidInput("; ".join(problems))
        return cls(**values)

    def params(self) -> dict[str, str]:
        """Return the API's query parameters: those that are set, never an empty one."""
        return {name: str(value) for name, value in self.as_dict().items()}

    def as_dict(self) -> dict[str, int]:
        """Return the filters that are set, in a fixed order."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}

    def mismatch(self, record: Mapping[str, object]) -> str | None:
        """Return how an event's decoded fields differ from what was asked for, or None where they match."""
        for name, asked in self.as_dict().items():
            got = record.get(name)
            # The document shows the user as an object with a `pk`; a bare id would be as good an answer.
            identity = got.get("pk") if name == "user" and isinstance(got, Mapping) else got
            if str(identity) != str(asked):
                return f"{name} is {identity!r}, asked for {asked}"
        return None
