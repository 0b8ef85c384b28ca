"""The Audit Events protocol and the export of a window, without Airflow.

The flow is one way: ``window → pages → proved events → encoded file → S3 object``. Each step is a module of
its own (`window`, `filters`, `settings`, `api`, `slices`, `export`, `encoding`, `archive`), and only `api`
sends HTTP. Nothing here imports Airflow; the Airflow shells around it live in `hooks`, `transfers` and
`sensors`.
"""
