"""Tables as reStructuredText, and the docstrings that their cells come from."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence

from docutils import nodes
from msgspec.inspect import Metadata, Type, UnionType
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective


class TableDirective(SphinxDirective):
    """A directive that gives one table."""

    def table(self, columns: Mapping[str, int], rows: Iterable[Sequence[str]]) -> list[nodes.Node]:
        """Return a table with these columns, each with its width, whose cells are reStructuredText."""
        lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {' '.join(map(str, columns.values()))}", ""]
        for row in [list(columns), *rows]:
            for number, cell in enumerate(row):
                first, *rest = cell.split("\n")
                lines.append(f"   {' ' if number else '*'} - {first}".rstrip())
                lines += [f"       {line}".rstrip() for line in rest]
        return self.parse_text_to_nodes("\n".join(lines))


def sentence(text: str) -> str:
    """Return text of a docstring as a sentence: from a capital to a full stop."""
    text = inspect.cleandoc(text)
    ended = text if text.endswith((".", "?")) else f"{text}."
    return ended[0].upper() + ended[1:]


def kinds_of(kind: Type) -> list[Type]:
    """Return the types that a field may have, each without its title and description."""
    if isinstance(kind, Metadata):
        return kinds_of(kind.type)
    return [inner for each in kind.types for inner in kinds_of(each)] if isinstance(kind, UnionType) else [kind]


def parameter_texts(cls: type) -> dict[str, str]:
    """Return what a class's docstring says of each parameter of its constructor."""
    found = re.findall(r"^:param (\w+): ((?:.|\n)*?)(?=^:|\Z)", inspect.getdoc(cls) or "", re.M)
    return {name: re.sub(r"\n +", "\n", text.strip()) for name, text in found}


def attribute_texts(cls: type) -> dict[str, str]:
    """Return the docstring below each attribute of a class."""
    found = ModuleAnalyzer.for_module(cls.__module__).find_attr_docs()
    return {name: "\n".join(lines).strip() for (owner, name), lines in found.items() if owner == cls.__qualname__}
