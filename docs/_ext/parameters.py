"""Tables of what users may write: constructors' parameters, and the fields of a connection.

Names and defaults come from the signature, meanings from the docstring, and what is templated from
``template_fields``: so that no page says it a second time. A parameter that the docstring does not describe fails
the build.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import msgspec
from docutils import nodes
from sphinx.application import Sphinx
from tables import TableDirective, attribute_texts, kinds_of, parameter_texts, sentence

from airflow_provider_akinon.audit_events.api import Extra
from airflow_provider_akinon.connection_form import FIELDS


class Parameters(TableDirective):
    """``.. parameters:: a.module.Class``: the parameters of a class's constructor."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        module, _, name = self.arguments[0].rpartition(".")
        rows = parameters_of(getattr(import_module(module), name))
        return self.table({"Parameter": 24, "Default": 22, "Meaning": 54}, rows)


def parameters_of(cls: type) -> Iterator[tuple[str, str, str]]:
    """Yield name, default and meaning of each parameter, in the order of the signature."""
    texts = parameter_texts(cls)
    written = _written_defaults(cls)
    for parameter in inspect.signature(cls.__init__).parameters.values():
        if parameter.name == "self" or parameter.kind is parameter.VAR_KEYWORD:
            continue
        meaning = sentence(re.sub(r"\s+\(templated\)", "", texts[parameter.name]))
        if parameter.name in getattr(cls, "template_fields", ()):
            meaning += " Templated."
        yield f"``{parameter.name}``", _default(parameter, written.get(parameter.name)), meaning


def _default(parameter: inspect.Parameter, written: ast.expr | None) -> str:
    if parameter.default is parameter.empty:
        return "required"
    if isinstance(written, ast.Call) and ast.unparse(written.func).startswith("conf.get"):
        section, option = (ast.literal_eval(argument) for argument in written.args)
        return f"Airflow's ``[{section}] {option}``"
    text = repr(parameter.default).removeprefix("datetime.")
    return f"``{json.dumps(parameter.default) if isinstance(parameter.default, str) else text}``"


def _written_defaults(cls: type) -> dict[str, ast.expr | None]:
    [function] = ast.parse(textwrap.dedent(inspect.getsource(cls.__init__))).body
    if not isinstance(function, ast.FunctionDef):
        raise TypeError(f"the constructor of {cls.__name__} is no plain function")
    named = function.args.kwonlyargs
    return {argument.arg: default for argument, default in zip(named, function.args.kw_defaults, strict=True)}


class ConnectionFields(TableDirective):
    """``.. connection-fields::``: the fields of a connection's extra."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        return self.table({"Field": 22, "In the form": 20, "Default": 12, "Meaning": 46}, fields_of_extra())


def fields_of_extra() -> Iterator[tuple[str, str, str, str]]:
    """Yield name, label, default as JSON and meaning of each field of the extra."""
    texts = attribute_texts(Extra)
    for field in msgspec.structs.fields(Extra):
        meaning = " ".join(filter(None, (sentence(texts[field.name]), _bounds(field.type))))
        yield f"``{field.name}``", FIELDS[field.name]["label"], f"``{json.dumps(field.default)}``", meaning


BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
"""How a bound of a number reads, by the name that msgspec gives it."""


def _bounds(type_: Any) -> str:
    """Return the bounds of a number as a sentence, or nothing where there are none."""
    kinds = kinds_of(msgspec.inspect.type_info(type_))
    told = [(words, getattr(kind, name, None)) for kind in kinds for name, words in BOUNDS.items()]
    bounds = ", ".join(f"{words} {bound:,}" for words, bound in told if bound is not None)
    return sentence(bounds) if bounds else ""


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directives."""
    app.add_directive("parameters", Parameters)
    app.add_directive("connection-fields", ConnectionFields)
    return {"parallel_read_safe": True}
