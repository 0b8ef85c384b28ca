"""Apache Airflow provider for the audit log of Akinon Commerce."""

__version__ = "0.1.0"
