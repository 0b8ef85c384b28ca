"""The Audit Events protocol, the archive and its proofs, without Airflow.

The flow is one way: ``window → pages → proved events → less what is stored → encoded file → S3 object → receipt →
seal``. A room for each part of it; outside a room, only what its face names is used:

- `model`: the words that all others use. Windows, filters, sources, formats, events.
- `redaction`: removes credentials from records, and whatever else the user names.
- `api`: the connection's settings, and the one client that sends HTTP.
- `formats`: events as bytes, and back.
- `export`: a window read exactly, with the proof.
- `archive`: keys, objects and receipts in the bucket. The grammar of all keys is in its ``layout``.
- `storing`: puts an export into the archive, beside what is there.
- `seals`: keys, documents and chains of seals.
- `verification`: checks whether the archive is still what was stored. It knows neither the API nor the code that
  writes.
- `sealing`: adds new seals, for what verification finds right.
- `reconciling`: compares stored windows with what the API says of them now.
- `watching`: waits for windows and for new events.
- `errors`: every error that is raised on purpose. `foreign_text`: shows text that others wrote. `in_threads`: makes
  several calls at a time.

Nothing here imports Airflow; the shells around it live in `hooks`, `transfers`, `operators`, `sensors`, `triggers`.
"""
