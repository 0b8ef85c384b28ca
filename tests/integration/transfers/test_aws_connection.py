"""The AWS connection's own settings: what ``S3Hook`` reads of it reaches the archive, and nothing else does."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from botocore.exceptions import SSLError

from airflow_provider_akinon.operators.audit_archive import (
    ReconcileAuditArchiveOperator,
    SealAuditArchiveOperator,
    VerifyAuditArchiveOperator,
)
from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.exporting import everything, execute
from tests.support.http_server import Answer, Request, Server
from tests.support.servers import UNTIL, Connect

DAY = {"start": (UNTIL - timedelta(days=1)).isoformat(), "end": UNTIL.isoformat()}
PREFIX = "akinon/audit-events"
ARCHIVE_OPERATORS = [SealAuditArchiveOperator, VerifyAuditArchiveOperator, ReconcileAuditArchiveOperator]
NO_BUCKET = Answer(404, b"", {"Content-Type": "application/xml"})
ROLE = "arn:aws:iam::123456789012:role/archive"
ASSUMED = b"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>OF-THE-ROLE</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>
<SessionToken>token-of-the-role</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>
</Credentials></AssumeRoleResult></AssumeRoleResponse>"""

ConnectAws = Callable[..., None]


@pytest.fixture
def connect_aws(s3: LocalS3, monkeypatch: pytest.MonkeyPatch) -> ConnectAws:
    """Return a function that makes ``aws_default`` a connection to the S3, with fields of the extra replaced."""

    def connect_aws(**extra: Any) -> None:
        connection = s3.connection()
        connection["extra"] |= extra
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))

    return connect_aws


@pytest.fixture
def at(connect_aws: ConnectAws) -> ConnectAws:
    """Return a function that leads ``aws_default`` to a stand-in of S3, with further fields of the extra."""

    def at(server: Server, **extra: Any) -> None:
        attempts = {"s3": {"addressing_style": "path"}, "retries": {"max_attempts": 1}}
        connect_aws(endpoint_url=server.url, config_kwargs=attempts, **extra)

    return at


def refusal(**arguments: Any) -> str:
    with pytest.raises(AirflowFailException) as caught:
        execute({}, **DAY, **arguments)
    return str(caught.value)


def default_bucket(name: object) -> dict[str, Any]:
    return {"service_config": {"s3": {"bucket_name": name}}}


def test_every_operator_uses_the_default_bucket(
    sandbox: Sandbox, s3: LocalS3, bucket: str, connect: Connect, connect_aws: ConnectAws
) -> None:
    """Without ``s3_bucket``, each operator exports to, seals, verifies or reconciles the connection's bucket."""
    connect(sandbox)
    connect_aws(**default_bucket(bucket))

    assert execute({}, **DAY)["bucket"] == bucket
    for operator in ARCHIVE_OPERATORS:
        operator(task_id="task", **DAY).execute({})

    keys = [one.key for one in everything(s3, bucket)]
    assert [key for key in keys if "/_seals/" in key or "seal" in key.rpartition("/")[2]]
    assert len(keys) >= 3


def test_what_the_task_says_comes_first(
    sandbox: Sandbox, s3: LocalS3, bucket: str, connect: Connect, connect_aws: ConnectAws
) -> None:
    """``s3_bucket`` and the bucket of an ``s3://`` URL go before the connection's; a bare key takes that."""
    connect(sandbox)
    default = f"audit-{uuid4().hex}"
    s3.client().create_bucket(Bucket=default)
    connect_aws(**default_bucket(default))

    assert execute({}, **DAY, s3_bucket=bucket)["bucket"] == bucket
    assert execute({}, **DAY, s3_key=f"s3://{bucket}/by-url.jsonl.gz")["bucket"] == bucket
    assert everything(s3, default) == []
    assert execute({}, **DAY, s3_key="by-key.jsonl.gz")["bucket"] == default


@pytest.mark.parametrize("name", [None, ""])
def test_no_bucket_at_all(sandbox: Sandbox, connect: Connect, connect_aws: ConnectAws, name: str | None) -> None:
    """Where neither names a bucket, the failure says both places where it may stand."""
    connect(sandbox)
    connect_aws(**default_bucket(name))

    said = refusal()

    assert "s3_bucket is missing" in said
    assert "service_config.s3.bucket_name in the extra of the AWS connection" in said


def test_a_default_bucket_that_is_no_text(sandbox: Sandbox, connect: Connect, connect_aws: ConnectAws) -> None:
    """It is refused by the name of its field, and not shown."""
    connect(sandbox)
    connect_aws(**default_bucket(["an0ther-s3cret"]))

    said = refusal()

    assert "service_config.s3.bucket_name in the extra of the AWS connection is not text" in said
    assert "an0ther-s3cret" not in said


def test_an_endpoint_for_s3_alone(
    sandbox: Sandbox, s3: LocalS3, bucket: str, connect: Connect, connect_aws: ConnectAws
) -> None:
    """``service_config.s3.endpoint_url`` goes before an ``endpoint_url`` for all services, where nobody answers."""
    connect(sandbox)
    connect_aws(endpoint_url="http://127.0.0.1:9", service_config={"s3": {"endpoint_url": s3.url}})

    execute({}, **DAY, s3_bucket=bucket)

    assert everything(s3, bucket)


def test_the_region(sandbox: Sandbox, connect: Connect, at: ConnectAws) -> None:
    """``region_name`` is the region that requests are signed for."""
    connect(sandbox)
    with Server(NO_BUCKET) as server:
        at(server, region_name="eu-central-1")
        assert "does not exist" in refusal(s3_bucket="audit")

    assert "/eu-central-1/s3/aws4_request" in signed(server.requests[0])


def test_an_assumed_role(sandbox: Sandbox, connect: Connect, at: ConnectAws) -> None:
    """``role_arn`` is assumed first, at the endpoint of STS, and the archive is reached with what it gives."""
    connect(sandbox)
    with Server(Answer(body=ASSUMED, headers={"Content-Type": "text/xml"})) as sts, Server(NO_BUCKET) as server:
        at(server, role_arn=ROLE, service_config={"sts": {"endpoint_url": sts.url}})
        assert "does not exist" in refusal(s3_bucket="audit")

    assert [request.method for request in sts.requests] == ["POST"]
    [request] = server.requests
    assert "Credential=OF-THE-ROLE/" in signed(request)
    assert ("X-Amz-Security-Token", "token-of-the-role") in request.headers


def test_verify(sandbox: Sandbox, connect: Connect, at: ConnectAws, certificate: Path) -> None:
    """``verify`` may be a file of authorities for the endpoint's certificate, which is verified by default."""
    connect(sandbox)
    with Server(NO_BUCKET, certificate=certificate) as server:
        at(server)
        with pytest.raises(SSLError):
            execute({}, **DAY, s3_bucket="audit")
        assert server.requests == []
        at(server, verify=str(certificate))
        assert "does not exist" in refusal(s3_bucket="audit")
        assert len(server.requests) == 1


def signed(request: Request) -> str:
    [authorization] = request.authorizations
    return authorization
