"""What an upload cannot take is told before anything is read."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from boto3.s3.transfer import S3Transfer

from airflow_provider_akinon.audit_events.errors import InvalidInput
from airflow_provider_akinon.audit_events.storing import MOST_METADATA, parse_upload_arguments

UNTIL = datetime(2033, 1, 1, tzinfo=UTC)


def parse(given: object) -> tuple[dict[str, object], list[str]]:
    """Return the checked arguments, and what was warned of."""
    warnings: list[str] = []
    return parse_upload_arguments(given, S3Transfer.ALLOWED_UPLOAD_ARGS, warnings.append), warnings


def test_right_arguments_pass() -> None:
    """What boto3 takes stays as it was given; a date that came as text becomes one."""
    given = {
        "StorageClass": "STANDARD_IA",
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "arn:aws:kms:eu-west-1:1:key/2",
        "Tagging": "team=security&keep=7y&flag=",
        "Metadata": {"team": "security", "cost-centre": "42"},
        "ObjectLockMode": "COMPLIANCE",
        "ObjectLockRetainUntilDate": "2033-01-01T00:00:00Z",
        "ACL": "bucket-owner-full-control",
        "ChecksumAlgorithm": "SHA256",
        "GrantRead": 'id="1", id="2"',
    }

    assert parse(given) == ({**given, "ObjectLockRetainUntilDate": UNTIL}, [])
    assert parse(None) == parse({}) == ({}, [])


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("StorageClass=GLACIER", "extra_args is text; give names and values"),
        ([("ACL", "private")], "extra_args is a list; give names and values"),
        ({"StorageKlass": "GLACIER"}, "extra_args has the unknown name 'StorageKlass'"),
        ({5: "x"}, "extra_args has the unknown name 5"),
        (
            {"Metadata": {"owner": "Müşteri"}},
            "extra_args['Metadata']['owner']='Müşteri' has a character that no header",
        ),
        ({"Metadata": {"owner": "a\r\nx-amz-acl: public-read"}}, "has a character that no header holds"),
        ({"Metadata": {"ürün": "a"}}, "extra_args['Metadata'] has the name 'ürün'"),
        ({"Metadata": {"a b": "a"}}, "extra_args['Metadata'] has the name 'a b'"),
        ({"Metadata": {5: "a"}}, "extra_args['Metadata'] has the name 5"),
        ({"Metadata": {"year": 2026}}, "extra_args['Metadata']['year'] is a number; give text, in quotes"),
        ({"Metadata": {"year": None}}, "extra_args['Metadata']['year'] is None; give text"),
        ({"Metadata": "team=security"}, "extra_args['Metadata'] is text; give names and texts"),
        ({"Metadata": {"a": "x" * MOST_METADATA}}, f"bytes of names and values, and may have {MOST_METADATA}"),
        ({"Tagging": {"team": "security"}}, "extra_args['Tagging'] is a mapping that names no tags; give text like"),
        ({"Tagging": "security"}, "extra_args['Tagging'] is text that names no tags; give text like 'team=security"),
        ({"Tagging": "team=güvenlik"}, "has a character that no header holds"),
        ({"CacheControl": 3600}, "extra_args['CacheControl'] is a number; give text, in quotes"),
        ({"CacheControl": ""}, "extra_args['CacheControl'] is empty"),
        ({"ExpectedBucketOwner": 123456789012}, "extra_args['ExpectedBucketOwner'] is a number"),
        ({"SSEKMSKeyId": ["arn"]}, "extra_args['SSEKMSKeyId'] is a list; give text"),
        ({"StorageClass": 5}, "extra_args['StorageClass'] is a number"),
        ({"ServerSideEncryption": "aws:kmss"}, "extra_args['ServerSideEncryption']='aws:kmss' is none that botocore"),
        ({"ACL": "privat"}, "extra_args['ACL']='privat' is none that botocore knows: private, public-read"),
        ({"Expires": "tomorrow"}, "Expires in extra_args='tomorrow' is not an ISO 8601 date-time"),
        ({"Expires": 5}, "Expires in extra_args=5 is neither"),
        ({"ObjectLockMode": "COMPLIANCE"}, "has 'ObjectLockMode' without 'ObjectLockRetainUntilDate'; S3 wants both"),
        ({"ObjectLockRetainUntilDate": UNTIL}, "has 'ObjectLockRetainUntilDate' without 'ObjectLockMode'"),
        ({"ContentType": "text/plain"}, "extra_args has 'ContentType', which is the operator's to set"),
        ({"ChecksumSHA256": "x"}, "extra_args has 'ChecksumSHA256', which is the operator's to set"),
        ({"SSECustomerKey": "x"}, "an object that only your own key opens cannot be verified"),
    ],
)
def test_a_wrong_argument_is_named(given: object, problem: str) -> None:
    """The name, what is wrong and what to give: no error of botocore after the read."""
    with pytest.raises(InvalidInput, match=re.escape(problem)):
        parse(given)


def test_all_problems_are_reported_at_once() -> None:
    """One failure mends them all."""
    with pytest.raises(InvalidInput) as caught:
        parse({"ACL": 1, "Tagging": {}, "Nonsense": 2})

    assert all(f"'{name}'" in str(caught.value) for name in ("ACL", "Tagging", "Nonsense"))


def test_an_unknown_storage_class_only_warns() -> None:
    """S3 may have a new one, which this botocore does not know."""
    arguments, [warning] = parse({"StorageClass": "GLACIER_NEXT"})

    assert arguments == {"StorageClass": "GLACIER_NEXT"}
    assert "extra_args['StorageClass']='GLACIER_NEXT' is none that botocore knows: STANDARD, " in warning


@pytest.mark.parametrize("name", sorted(S3Transfer.ALLOWED_UPLOAD_ARGS))
@pytest.mark.parametrize("value", [5, 1.5, True, None, [], {}, "ş", "a\nb", ""])
def test_no_name_takes_what_no_header_holds(name: str, value: object) -> None:
    """Whatever the name, what is no text, no date and no mapping, or does not print, is refused by its name."""
    if (name, value) == ("Metadata", {}):
        return
    with pytest.raises(InvalidInput, match=name):
        parse({name: value})
