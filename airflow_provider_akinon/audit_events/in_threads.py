"""Makes the same call for many values, some at a time, in threads that nobody waits for.

A caller that is interrupted, by a task's timeout or a kill, leaves at once, and the process can end at once: an
executor would wait for each thread, with the requests and pauses that it is at. A thread that is left behind ends
with its call, and begins no other. This module never drops an error: an error is raised where the result of its call
was due.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

THREADS = 8
"""The number of calls at a time; each call is a request to S3, or a few in a row."""

Given = TypeVar("Given")
Result = TypeVar("Result")


@contextmanager
def in_threads(
    call: Callable[[Given], Result], values: Iterable[Given], name: str, threads: int = THREADS
) -> Iterator[Iterator[Result]]:
    """Give the results of ``call`` for each of ``values``, in their order, and no further calls after the ``with``.

    :param name: the beginning of the threads' names.
    :param threads: the most calls at a time.
    """
    calls = deque((Future[Result](), value) for value in values)
    due = deque(future for future, _ in calls)

    def work() -> None:
        while calls:
            try:
                future, value = calls.popleft()
            except IndexError:  # another thread took the last one
                return
            try:
                future.set_result(call(value))
            except BaseException as error:
                future.set_exception(error)

    def results() -> Iterator[Result]:
        while due:
            yield due.popleft().result()

    for number in range(min(threads, len(calls))):
        threading.Thread(target=work, name=f"{name}-{number}", daemon=True).start()
    try:
        yield results()
    finally:
        calls.clear()
