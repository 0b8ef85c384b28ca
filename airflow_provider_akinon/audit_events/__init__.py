"""The Audit Events protocol and the export of a window, without Airflow.

The flow is one way: ``window → pages → proved events → encoded file → S3 object → receipt → seal``. Each step is a
module of its own, and only `api` sends HTTP. `verification` and `reconciling` look at what came of it. Nothing here
imports Airflow; the Airflow shells around it live in `hooks`, `transfers`, `operators`, `sensors` and `triggers`.
"""
