"""The Audit Events protocol, the archive and its proofs, without Airflow.

The flow is one way: ``window → pages → proved events → less what is stored → encoded file → S3 object → receipt →
seal``. Where to look:

- What is asked, and of whom: `window`, `filters`, `source`, `settings`, by which `proxies`, with which
  `secret_headers`. Only `api` sends HTTP, at the `pace` that is allowed, within the `limits` of a request. Its times
  have a `precision`.
- What comes: `records`, by the steps of `slices`, which `reading` takes in order and `export` proves complete. What
  cannot be read is named by `unreadable`.
- What is stored: `encoding`, `parquet`, less what `redaction` removes: where its paths lead (`path_walk`), and what
  `credential_search` finds under the names of `credentials`, also in `loose_text`; both by `splicing`.
- Where it goes: `place`, `bucket`, of whose store `conditional_writes` finds out what it keeps, `receipt`, `archive`,
  with `upload_arguments`. What an author wrote: `given_text`.
- What is there already: `stored_window`, `stored`, and how the API gives it by now, `comparison`, by `differences`.
- What stands for it later: `signing`, `seal`, `seal_chain`, `sealing`.
- What looks at it again: `verification`, and with the API `reconciling`. They and `sealing` see what `inventory`
  lists, judge a window by its `evidence` and a `series` by what it leaves out (`coverage`), and report `findings`.
- What does several things at a time, and waits for none of them: `in_threads`.
- What looks at how an API behaves: `probing`.
- What waits for events: `waiting`, `arrivals`.
- What can go wrong: `errors`, whose messages show what others wrote by `foreign_text`, and by `secrecy` no secret;
  `advice` says what to change after a refusal.

Nothing here imports Airflow; the shells around it live in `hooks`, `transfers`, `operators`, `sensors`, `triggers`.
"""
