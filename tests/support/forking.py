"""Processes in a fraction of their time: forked from one that has imported what takes long, Airflow and Django.

Its children know their own environment and folder, not those of the process that they are forked from.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

IMPORTED = (
    "tests.support.worker",
    "tests.support.quick_sandboxes",
    "airflow_provider_akinon.sandbox.server",
    "django.core.handlers.wsgi",
    "django.contrib.admindocs.views",
    "django.db.backends.sqlite3.base",
    "django_filters.rest_framework",
    "rest_framework.serializers",
)
"""What is imported already where a process begins: all that can be before Django has its settings."""


def fork(
    target: Callable[..., object],
    *arguments: Any,
    environment: Mapping[str, str] | None = None,
    streams: Mapping[int, Connection] | None = None,
) -> ForkServerProcess:
    """Start a process that calls a function of a module, with some of its standard streams replaced."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    whole = {**os.environ, **(environment or {})}
    process = context.Process(target=_call, args=(target, arguments, whole, dict(streams or {})))
    process.start()
    return process


def _call(
    target: Callable[..., object],
    arguments: tuple[Any, ...],
    environment: Mapping[str, str],
    streams: Mapping[int, Connection],
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for number, stream in streams.items():
        os.dup2(stream.fileno(), number)
        stream.close()
    target(*arguments)
