"""Runs the sandbox in this process: configures Django, makes the events, and serves them by waitress.

Binds the port before it makes the events, so that a port that is taken is found out at once.
"""

from __future__ import annotations

import json
import logging
import shlex
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from waitress import create_server

from airflow_provider_akinon.sandbox.connection import connection_json, list_path
from airflow_provider_akinon.sandbox.database import BUSY_TIMEOUT, Database
from airflow_provider_akinon.sandbox.generate import Shop
from airflow_provider_akinon.sandbox.options import Options
from airflow_provider_akinon.sandbox.request_log import RequestLog

THREADS = 32


def run(options: Options, stopping: threading.Event) -> None:
    """Serve until a KeyboardInterrupt, then remove what was temporary. Whoever interrupts sets ``stopping`` first.

    :raises OSError: the address cannot be listened on, or a file cannot be written.
    """
    # A request that hangs on a client must not keep the directory.
    with tempfile.TemporaryDirectory(prefix="akinon-sandbox-", ignore_cleanup_errors=True) as temporary:
        if options.supervised and not options.log:
            options = replace(options, log=Path(temporary, "requests.jsonl"))
        database = options.database or Path(temporary, "events.sqlite3")
        configure(options, database)
        application = RequestLog(_application(options, stopping), options)
        try:
            server = _bind(options, application)
            try:
                events = Shop(options.seed).history(options.events, options.start, options.until)
                Database(database).create(events)
                _announce(options, int(server.effective_port), database)
                server.run()
            finally:
                server.close()
        finally:
            application.close()


def _bind(options: Options, application: Any) -> Any:
    try:
        return create_server(
            application,
            host=options.host,
            port=options.port,
            threads=THREADS,
            connection_limit=1000,
            ident="sandbox",
        )
    except (OSError, ValueError) as error:  # waitress makes a host that does not resolve a ValueError
        reason = getattr(error, "strerror", None) or error
        raise OSError(
            f"cannot listen on --host {options.host} --port {options.port} ({reason}); "
            "give another port, or --port 0 for any free one"
        ) from error


def configure(options: Options, database: Path) -> None:
    """Set up Django for this process; once only."""
    settings.configure(
        SANDBOX=options,
        ALLOWED_HOSTS=["*"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": database,
                "CONN_MAX_AGE": None,
                "OPTIONS": {"timeout": BUSY_TIMEOUT},
            }
        },
        LOGGING_CONFIG=None,
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
        ROOT_URLCONF=f"airflow_provider_akinon.sandbox.{'faults' if options.distorts else 'api'}",
        TIME_ZONE="UTC",
        USE_I18N=False,
        USE_TZ=True,
        REST_FRAMEWORK={
            "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
            "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.UserRateThrottle"] if options.throttle else [],
            "DEFAULT_THROTTLE_RATES": {"user": options.throttle},
            "UNAUTHENTICATED_USER": None,
        },
    )
    django.setup()
    # Refused requests are in our own log; these two would repeat them.
    logging.getLogger("django.request").setLevel(logging.ERROR)
    logging.getLogger("waitress").setLevel(logging.ERROR)


def _application(options: Options, stopping: threading.Event) -> Any:
    from django.core.handlers.wsgi import WSGIHandler
    from django.urls import get_resolver

    application = WSGIHandler()
    get_resolver().url_patterns  # noqa: B018 - loads the views now, rather than in the first request
    if not options.disturbs:
        return application
    from airflow_provider_akinon.sandbox.faults import Network

    return Network(application, options, stopping)


def _announce(options: Options, port: int, database: Path) -> None:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(options.host, options.host)  # noqa: S104 - compared, not bound
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    if options.supervised:
        facts = {"url": url, "key": options.key, "remote_id": options.remote_id, "seed": options.seed}
        print(
            json.dumps(
                {**facts, "database": str(database.resolve()), "log": str(options.log and options.log.resolve())}
            ),
            flush=True,
        )
        return
    endpoint = url + list_path(options.remote_id)
    header = shlex.quote(f"Authorization: Token {options.key}")
    query = "?sort=-timestamp&limit=1"
    connection = shlex.quote(connection_json(url, options.key, options.remote_id))
    print(
        f"Akinon Audit Events API (sandbox): {options.events:,} events"
        f" from {options.start:%Y-%m-%dT%H:%M:%SZ} to {options.until:%Y-%m-%dT%H:%M:%SZ}\n"
        f"\n  URL  {endpoint}\n  Key  {options.key}\n"
        f"\n  curl -H {header} {shlex.quote(endpoint + query)}\n"
        f"\n  export AIRFLOW_CONN_AKINON_DEFAULT={connection}\n"
        "\nCtrl-C stops it.",
        flush=True,
    )
