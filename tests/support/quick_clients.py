"""Clients of S3 in a tenth of their time: to import this module lets all of a process share what botocore reads.

Each session of boto3 reads and parses the description of S3 anew, which takes longer than most that a test does
with its client. The clients are the real ones.
"""

from __future__ import annotations

from functools import cache

import botocore.session

botocore.session.create_loader = cache(botocore.session.create_loader)
