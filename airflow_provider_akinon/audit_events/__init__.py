"""The Audit Events protocol, the archive and its proofs, without Airflow.

The flow is one way: ``window → pages → proved events → less what is stored → encoded file → S3 object → receipt →
seal``. A room for each part of it; outside a room, only what its face names is used:

- `model`: the words that all others use. Windows, filters, sources, formats, events.
- `redaction`: what is removed from a record.
- `api`: the connection's settings, and the one client that sends HTTP.
- `formats`: events as bytes, and back.
- `export`: a window read exactly, with the proof.
- `archive`: what lies in the bucket. All grammar of keys is in its ``layout``.
- `storing`: how an export gets into the archive, beside what is there.
- `seals`: keys, documents and chains of seals.
- `verification`: whether the archive is what was stored. It knows neither the API nor what writes.
- `sealing`: new seals, for what verification finds right.
- `reconciling`: stored windows beside what the API says of them now.
- `watching`: waiting for events.
- `errors`: what can go wrong. `foreign_text`: how to show what others wrote. `in_threads`: several things at a time.

Nothing here imports Airflow; the shells around it live in `hooks`, `transfers`, `operators`, `sensors`, `triggers`.
"""
