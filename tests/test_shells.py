"""Every operator and sensor: constructed without effect, templated, and strict before any request."""

from __future__ import annotations

import importlib
import inspect
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    BaseOperator,
)

from airflow_provider_akinon.audit_events.errors import AkinonError
from airflow_provider_akinon.audit_events.watching import Sighting
from airflow_provider_akinon.get_provider_info import get_provider_info
from airflow_provider_akinon.operators.audit_archive import (
    ReconcileAuditArchiveOperator,
    SealAuditArchiveOperator,
    VerifyAuditArchiveOperator,
)
from airflow_provider_akinon.sensors.audit_events import AuditEventsSensor
from airflow_provider_akinon.transfers.audit_events_to_s3 import AuditEventsToS3Operator
from tests.support.arenas import arenas_after

SHELLS = [
    AuditEventsToS3Operator,
    SealAuditArchiveOperator,
    VerifyAuditArchiveOperator,
    ReconcileAuditArchiveOperator,
    AuditEventsSensor,
]
DAY = {"start": "2026-01-31T00:00:00Z", "end": "2026-02-01T00:00:00Z"}


@pytest.fixture(autouse=True)
def connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """An Akinon connection to a port where nobody listens: what reaches the network fails in another way."""
    monkeypatch.setenv(
        "AIRFLOW_CONN_AKINON_DEFAULT", '{"conn_type": "akinon", "host": "http://127.0.0.1:9", "password": "k"}'
    )
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", '{"conn_type": "aws"}')


def sensor(**arguments: Any) -> AuditEventsSensor:
    return AuditEventsSensor(task_id="wait", **arguments)


def arguments_of(shell: Any) -> list[inspect.Parameter]:
    """Return the arguments of a shell's constructor, without those of every operator."""
    parameters = inspect.signature(shell.__init__).parameters.values()
    return [parameter for parameter in parameters if parameter.name not in ("self", "kwargs")]


def test_every_shell_is_here() -> None:
    """Every operator and sensor that the provider registers is tested below."""
    info = get_provider_info()
    modules = [each for kind in ("operators", "sensors") for one in info[kind] for each in one["python-modules"]]
    modules += [one["python-module"] for one in info["transfers"]]
    found = {
        member
        for name in modules
        for member in vars(importlib.import_module(name)).values()
        if isinstance(member, type) and issubclass(member, BaseOperator) and member.__module__ == name
    }

    assert found == set(SHELLS)


def refusal(**arguments: Any) -> str:
    """Execute the operator and return the text of its final failure."""
    operator = AuditEventsToS3Operator(task_id="export", **arguments)
    with pytest.raises(AirflowFailException) as caught:
        operator.execute({})
    return str(caught.value)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_template_field_is_an_argument_and_an_attribute(shell: Any) -> None:
    """What Airflow renders is what the author gave, unchanged by the constructor."""
    given = {name: f"{{{{ ds }}}}-{name}" for name in shell.template_fields}

    task = shell(task_id="task", **given)

    assert set(shell.template_fields) <= {argument.name for argument in arguments_of(shell)}
    assert {name: getattr(task, name) for name in shell.template_fields} == given


@pytest.mark.parametrize("shell", SHELLS)
def test_templates_are_rendered_deep_inside(shell: Any) -> None:
    """A template is rendered as the whole of an argument, and within a list or the values of a dict."""
    assert {"start", "end"} <= set(shell.template_fields)
    deep = {name: {"user": ["{{ params_user }}", "x-{{ ds }}"]} for name in shell.template_fields if name != "start"}
    task = shell(task_id="task", start="{{ ds }}T00:00:00Z", **deep)

    task.render_template_fields({"ds": "2026-01-31", "params_user": 42})

    assert task.start == "2026-01-31T00:00:00Z"
    assert {name: getattr(task, name) for name in deep} == {name: {"user": ["42", "x-2026-01-31"]} for name in deep}


@pytest.mark.parametrize("shell", SHELLS)
def test_every_connection_id_is_templated(shell: Any) -> None:
    """One DAG serves several shops by an id that a template gives."""
    ids = {argument.name for argument in arguments_of(shell) if argument.name.endswith("_conn_id")}
    assert ids
    task = shell(task_id="task", **dict.fromkeys(ids, "{{ shop }}_prod"))

    task.render_template_fields({"shop": "north"})

    assert {getattr(task, name) for name in ids} == {"north_prod"}
    structured = {"filters", "extra_args", "known_heads", "public_keys"} & set(shell.template_fields)
    assert shell.template_fields_renderers == dict.fromkeys(structured, "json")


@pytest.mark.parametrize("shell", SHELLS)
def test_every_argument_is_keyword_only_and_described(shell: Any) -> None:
    """The class docstring describes each argument, and none can be given by its place."""
    arguments = arguments_of(shell)

    assert all(argument.kind is inspect.Parameter.KEYWORD_ONLY for argument in arguments)
    assert [argument.name for argument in arguments if f":param {argument.name}:" not in shell.__doc__] == []


@pytest.mark.parametrize("shell", SHELLS)
def test_a_constructor_has_no_effect(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A DAG file is parsed every few seconds, where connections may not exist: construction looks nothing up."""
    monkeypatch.delenv("AIRFLOW_CONN_AKINON_DEFAULT")
    monkeypatch.setattr("socket.socket", None)
    names = [each.name for each in arguments_of(shell)]
    given = {name: "nowhere" for name in names if name.endswith("_conn_id")}
    given |= dict.fromkeys(shell.template_fields, "wrong")

    task = shell(task_id="task", **given)

    assert {name: getattr(task, name) for name in given} == given


@pytest.mark.parametrize("shell", SHELLS)
def test_an_unknown_argument_is_refused(shell: Any) -> None:
    """A misspelt argument fails when the DAG is parsed."""
    with pytest.raises((TypeError, AirflowException), match="s3_buckett"):
        shell(task_id="task", s3_buckett=True)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("window", "problem"),
    [
        ({"start": DAY["start"], "end": "tomorrow"}, "end='tomorrow'"),
        ({"start": "2026-01-31T00:00:00", "end": DAY["end"]}, "start='2026-01-31T00:00:00'"),
        ({"start": DAY["end"], "end": DAY["start"]}, "is after"),
    ],
)
def test_a_wrong_window_ends_the_task(shell: Any, window: dict[str, str], problem: str) -> None:
    """What the author wrote wrong is a final failure that names it, before anything is asked."""
    run = shell(task_id="task", **window).execute if shell is not AuditEventsSensor else sensor(**window).poke
    with pytest.raises(AirflowFailException, match=re.escape(problem)):
        run({})


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            {"s3_bucket": "audit", "s3_key": "k", "s3_key_prefix": "p"},
            "s3_key='k' and s3_key_prefix='p' exclude each other",
        ),
        ({"s3_bucket": "audit", "s3_key": "s3://audit/k"}, "names its bucket, and so does s3_bucket='audit'"),
        ({"s3_bucket": "audit", "s3_key": "folder/"}, "is not a whole key"),
        ({"s3_key": "k"}, "s3_bucket is missing"),
        ({}, "s3_bucket is missing"),
        ({"s3_key_prefix": "p"}, "s3_bucket is missing"),
        ({"s3_bucket": "audit", "s3_key": "a.late-1.jsonl.gz"}, "is a name for late events of another export"),
        ({"s3_key": "s3://audit/a.late-12"}, "is a name for late events of another export"),
        (
            {"s3_bucket": 2026, "s3_key": "k"},
            "s3_bucket=2026 is a number; give text. Where a template gave it, render_",
        ),
        ({"s3_bucket": "audit", "s3_key": 202601}, "s3_key=202601 is a number; give text"),
        ({"s3_bucket": "audit", "s3_key_prefix": 202601}, "s3_key_prefix=202601 is a number; give text"),
        ({"s3_bucket": "audit", "s3_key_prefix": True}, "s3_key_prefix=True is true or false; give text"),
        ({"s3_bucket": " ", "s3_key_prefix": "p"}, "s3_bucket is empty"),
        ({"s3_bucket": ["audit"]}, "s3_bucket=['audit'] is a list; give text"),
    ],
)
def test_an_ambiguous_destination_ends_the_task(arguments: dict[str, Any], problem: str) -> None:
    """Where the export would go must be clear, or the task fails for good before anything is sent."""
    assert problem in refusal(**DAY, **arguments)


@pytest.mark.parametrize(
    ("extra_args", "problem"),
    [
        ({"ServerSideEncrpytion": "aws:kms"}, "extra_args has the unknown name 'ServerSideEncrpytion'"),
        ({"Bucket": "other"}, "extra_args has the unknown name 'Bucket'"),
        ({"ContentType": "text/plain"}, "extra_args has 'ContentType', which is the operator's to set"),
        ({"ContentEncoding": "gzip"}, "extra_args has 'ContentEncoding', which is the operator's to set"),
    ],
)
def test_wrong_upload_arguments_end_the_task(extra_args: dict[str, Any], problem: str) -> None:
    """A misspelt upload argument fails before the long read, not after it."""
    assert problem in refusal(**DAY, s3_bucket="audit", extra_args=extra_args)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "The run has no data interval"),
        ({"start": DAY["start"]}, "end is missing"),
        ({"start": DAY["end"], "end": DAY["start"]}, "is after"),
        ({**DAY, "filters": {"usr": 1}}, "unknown name 'usr'"),
        ({**DAY, "filters": 5}, "filters=5 is not a mapping"),
        ({"start": 20260131, "end": DAY["end"]}, "start=20260131 is neither an aware datetime nor ISO 8601 text"),
        ({**DAY, "file_format": "jsonl.gzz"}, "file_format='jsonl.gzz' is not known; use one of 'jsonl.gz'"),
        ({**DAY, "file_format": None}, "file_format=None is not known"),
        ({**DAY, "redact": "credential"}, "redact='credential' is not a policy; give 'credentials'"),
        ({**DAY, "redact": {"user.email": "maks"}}, "maks"),
        ({**DAY, "extra_args": {"Tagging": {"team": "security"}}}, "extra_args['Tagging'] is a mapping"),
        ({**DAY, "partition_timezone": "Europe/Atlantis"}, "partition_timezone='Europe/Atlantis'"),
        ({**DAY, "on_source_change": "ignore"}, "on_source_change='ignore' is not known; give 'fail' or 'warn'"),
        ({**DAY, "on_source_change": None}, "on_source_change=None is not known; give 'fail' or 'warn'"),
        ({"start": DAY["start"], "end": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}, "is in the future"),
    ],
)
def test_wrong_parameters_end_the_task(arguments: dict[str, Any], problem: str) -> None:
    """What the author wrote wrong is a final failure: another try would fail in the same way."""
    assert problem in refusal(**arguments, s3_bucket="audit")


@pytest.mark.parametrize("operator", [SealAuditArchiveOperator, VerifyAuditArchiveOperator])
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "s3_bucket is missing"),
        ({"s3_bucket": 5}, "s3_bucket=5 is a number; give text"),
        ({"s3_bucket": "audit", "aws_conn_id": 5}, "aws_conn_id=5 is a number; give text"),
        ({"s3_bucket": "audit", "s3_key_prefix": 5}, "s3_key_prefix=5 is not a prefix"),
        ({"s3_bucket": "audit", "known_heads": 5}, "known_heads=5 is a number; give one text, or a list of them"),
        ({"s3_bucket": "audit", "known_heads": [5]}, "known_heads has 5, which is no text"),
    ],
)
def test_what_a_template_made_a_number_ends_the_task(
    operator: Any, arguments: dict[str, Any], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``render_template_as_native_obj`` a text of digits is a number: it is told before S3 is asked."""
    monkeypatch.setattr("socket.socket", None)

    with pytest.raises(AirflowFailException, match=re.escape(problem)):
        operator(task_id="task", **DAY, **arguments).execute({})


def test_a_wrong_connection_ends_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is not wholly right is a final failure that names its fields and not its secrets."""
    monkeypatch.setenv("AIRFLOW_CONN_AKINON_DEFAULT", "akinon://:s3cr3t-K3y@shop.example.com?verfiy=false&timeout=0")

    message = refusal(**DAY, s3_bucket="audit")

    assert "'verfiy'" in message
    assert "timeout (text, 1 long)" in message
    assert "s3cr3t-K3y" not in message


@pytest.mark.parametrize("flags", [{}, {"soft_fail": True}, {"never_fail": True}], ids=str)
@pytest.mark.parametrize("permanent", [True, False])
def test_a_deferred_sensor_ends_as_a_poked_one(
    flags: dict[str, bool], permanent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``soft_fail`` and ``never_fail`` mean the same in the triggerer, in the first look and while poking."""
    if permanent:
        monkeypatch.setenv("AIRFLOW_CONN_AKINON_DEFAULT", '{"conn_type": "akinon", "host": "", "password": "k"}')
    else:
        monkeypatch.delenv("AIRFLOW_CONN_AKINON_DEFAULT")
    event = {"status": "failed", "message": "x", "permanent": permanent}
    deferred = sensor(**DAY, **flags, deferrable=True)

    with pytest.raises(Exception, match=r".") as poked:
        sensor(**DAY, **flags).execute({})
    with pytest.raises(Exception, match=r".") as at_first:
        deferred.execute({})
    with pytest.raises(Exception, match=r"^x$") as later:
        deferred.execute_complete({}, event)

    ends = {True: AirflowFailException, False: AkinonError}[permanent]
    skips = "never_fail" in flags or ("soft_fail" in flags and permanent)
    for caught in (poked, at_first, later):
        assert isinstance(caught.value, AirflowSkipException if skips else ends)


def test_a_poking_sensor_says_what_is_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log tells a new count at once, and does not repeat an old one at each look."""
    said: list[str] = []
    log = SimpleNamespace(info=lambda text, *values: said.append(text % values))
    monkeypatch.setattr(AuditEventsSensor, "log", log)
    now = datetime.now(UTC)
    first, second = Sighting(5, now), Sighting(7, now)
    seen = iter([(first, False), (first, False), (second, False), (second, False), (second, True)])
    monkeypatch.setattr("airflow_provider_akinon.sensors.audit_events.look_at", lambda *_: next(seen))
    waiting = sensor(**DAY, settled_for=timedelta(minutes=30), poke_interval=20)

    for _ in range(5):
        waiting.poke({})

    assert [re.findall(r"holds (\d) matching", line) for line in said] == [["5"], ["7"], ["7"]]
    assert "settles in 0:30:00, where the count stands until then. Looking again every 20 s" in said[0]
    assert said[-1].endswith("the waiting is over")


def test_the_sensor_ends_on_wrong_parameters() -> None:
    """The sensor does not poke for days with a filter that can never be asked."""
    with pytest.raises(AirflowFailException, match="unknown name 'usr'"):
        sensor(**DAY, filters={"usr": 1}).poke({})


@pytest.mark.parametrize(
    "shell",
    ["transfers.audit_events_to_s3.AuditEventsToS3Operator", "operators.audit_archive.ReconcileAuditArchiveOperator"],
)
def test_an_operator_that_reads_shares_arenas(shell: str) -> None:
    """From the first line of its task on, even of one that fails."""
    module, _, name = shell.rpartition(".")
    script = f"""
from airflow_provider_akinon.{module} import {name}
try:
    {name}(task_id="task", s3_bucket="", start="no time", end="no time").execute({{}})
except Exception:
    pass
"""
    assert arenas_after(script, {}) == 2
