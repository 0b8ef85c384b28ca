"""Clients of S3 in a tenth of their time: to import this module lets all of a process share what makes them slow.

Each session of boto3 reads the description of S3 anew and looks at the signatures of the same handlers, and the
provider of AWS reads lines of code to learn who called it; all that takes longer than most that a test does with its
client. The clients are the real ones.
"""

from __future__ import annotations

import inspect
from functools import cache, partial

import botocore.hooks
import botocore.session

from airflow_provider_akinon.sandbox.s3 import LocalS3

botocore.session.create_loader = cache(botocore.session.create_loader)
botocore.hooks.accepts_kwargs = cache(botocore.hooks.accepts_kwargs)
_aliaser = botocore.hooks.EventAliaser(None)
_alias = cache(_aliaser._alias_event_name)
botocore.hooks.EventAliaser._alias_event_name = lambda _, name: _alias(name)

inspect.stack = partial(inspect.stack, 0)  # without the lines of code around each call

LocalS3.client = cache(LocalS3.client)  # type: ignore[method-assign] # clients may be shared between threads
