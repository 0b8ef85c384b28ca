"""``python -m airflow_provider_akinon.sandbox``: serve a local Audit Events API until Ctrl-C or SIGTERM."""

from __future__ import annotations

import os
import signal
import sys
import threading

from airflow_provider_akinon.sandbox.options import parse


def main() -> int:
    """Run the sandbox; return its exit status."""
    options = parse()
    try:
        from airflow_provider_akinon.sandbox.server import run
    except ModuleNotFoundError as error:
        print(f"The sandbox needs {error.name}: pip install 'airflow-provider-akinon[sandbox]'", file=sys.stderr)
        return 1
    stopping = threading.Event()

    def stop(*_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # the first one is enough, and cleaning up takes a moment
        stopping.set()
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    if options.supervised:
        threading.Thread(target=_stop_with_supervisor, daemon=True).start()
    try:
        run(options, stopping)
    except KeyboardInterrupt:
        pass
    except OSError as error:
        print(f"The sandbox did not start: {error}", file=sys.stderr)
        return 1
    return 0


def _stop_with_supervisor() -> None:
    """Stop when whoever started this process ends, however that happens: then the pipe to stdin closes."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
