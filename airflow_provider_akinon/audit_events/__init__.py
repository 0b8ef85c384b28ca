"""The Audit Events protocol, the archive and its proofs, without Airflow.

The flow is one way: ``window → pages → proved events → less what is stored → encoded file → S3 object → receipt →
seal``. Where to look:

- What is asked, and of whom: `window`, `filters`, `settings`. Only `api` sends HTTP, at the `pace` that is allowed.
- What comes: `records`, by the steps of `slices`, which `reading` takes in order and `export` proves complete.
- What is stored: `encoding`, `parquet`, less what `redaction` removes (`credentials`, `loose_text`, `splicing`).
- Where it goes: `place`, `bucket`, `receipt`, `archive`.
- What is there already: `stored_window`, `stored`, and how the API gives it by now, `comparison`, by `differences`.
- What stands for it later: `signing`, `seal`, `sealing`, which see what `inventory` finds and `coverage` leaves out.
- What looks at it again: `verification`, and with the API `reconciling`.
- What waits for events: `waiting`, `arrivals`.
- What can go wrong: `errors`.

Nothing here imports Airflow; the shells around it live in `hooks`, `transfers`, `operators`, `sensors`, `triggers`.
"""
