"""A local Akinon Audit Events API: for trying a DAG, for its tests, and for this package's own.

On a command line, ``python -m airflow_provider_akinon.sandbox --help``. In a test::

    from airflow_provider_akinon.sandbox import Sandbox

    with Sandbox.start(events=5_000, days=10, until="2026-01-31T00:00:00Z") as sandbox:
        os.environ["AIRFLOW_CONN_AKINON_DEFAULT"] = sandbox.connection_json()
        ...  # run the DAG
        assert exported == sandbox.uuids("2026-01-30T00:00:00Z", "2026-01-31T00:00:00Z")

Serving needs the extra ``[sandbox]``: Django, Django REST framework, django-filter and waitress. Importing this
module does not.
"""

from airflow_provider_akinon.sandbox.process import Sandbox

__all__ = ["Sandbox"]
