"""The documentation says what the code does: options, defaults, messages, code and links are compared with it."""

from __future__ import annotations

import ast
import gzip
import hashlib
import inspect
import json
import re
import shlex
import subprocess
import warnings
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from airflow_provider_akinon.audit_events import errors
from airflow_provider_akinon.audit_events.api import Extra
from airflow_provider_akinon.audit_events.archive import Run, Status, parse_receipt, receipt_key
from airflow_provider_akinon.audit_events.formats import uuids_sum
from airflow_provider_akinon.audit_events.model import Filters, Source, Window
from airflow_provider_akinon.audit_events.seals import PrivateKey, PublicKey, Seal
from airflow_provider_akinon.hooks.akinon import AkinonHook
from airflow_provider_akinon.operators.audit_archive import (
    ReconcileAuditArchiveOperator,
    SealAuditArchiveOperator,
    VerifyAuditArchiveOperator,
)
from airflow_provider_akinon.sensors.audit_events import AuditEventsSensor
from airflow_provider_akinon.transfers.audit_events_to_s3 import AuditEventsToS3Operator
from airflow_provider_akinon.triggers.audit_events import AuditEventsArrivedTrigger
from tests.support.commands import needs
from tests.support.exporting import export
from tests.support.paths import DOCS, ROOT
from tests.support.servers import UNTIL

PAGES = sorted(DOCS.rglob("*.rst"))
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
EXAMPLES = sorted(path.stem for path in (ROOT / "example_dags").glob("*.py"))
INCLUDE = re.compile(
    r"^\.\. literalinclude:: (\S+)\n +:start-after: (# \[START \w+\])\n +:end-before: (# \[END \w+\])$", re.M
)

SEAL = Seal(
    schema="airflow-provider-akinon/seal/1",
    bucket="audit-archive",
    prefix="akinon/audit-events/",
    source=Source(host="shop.example.com", remote_id=1),
    filters=Filters(),
    number=1,
    previous=None,
    period=Window(start=datetime(2026, 3, 1, tzinfo=UTC), end=datetime(2026, 4, 1, tzinfo=UTC)),
    receipts=[],
    additions=[],
    gaps=[],
    overlaps=[],
    losses=[],
    chains=[],
    provider_version="0.1.0",
    run=Run(dag_id=None, task_id=None, run_id=None, map_index=None, try_number=None),
    sealed_at=datetime(2026, 4, 1, tzinfo=UTC),
    signed_by=None,
    signature=None,
)
OPERATORS = (
    AuditEventsToS3Operator,
    SealAuditArchiveOperator,
    VerifyAuditArchiveOperator,
    ReconcileAuditArchiveOperator,
    AuditEventsSensor,
)

try:
    import airflow.sdk  # noqa: F401 - only whether this is Airflow 3

    AIRFLOW_3 = True
except ImportError:
    AIRFLOW_3 = False


def load(folder: Path):
    """Return the one DAG of a folder, as Airflow loads it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Airflow 2.11 warns of itself while it loads
        if AIRFLOW_3:
            from airflow.dag_processing.dagbag import DagBag

            bag = DagBag(dag_folder=str(folder))
        else:
            from airflow.models.dagbag import DagBag

            bag = DagBag(dag_folder=str(folder), include_examples=False)
    assert bag.import_errors == {}
    (dag,) = bag.dags.values()
    return dag


def page(name: str) -> str:
    return (DOCS / f"{name}.rst").read_text()


def rows(rst: str) -> dict[str, str]:
    """First and second cell of a list-table's rows, where the first is one literal; the second without backticks."""
    found = re.findall(r"^   \* - ``(\w+)``\n     - (.+)$", rst, re.M)
    assert len(found) == len(dict(found)), "a name stands in two rows"
    return {name: cell.strip("`") for name, cell in found}


def parameters(cls: type) -> list[str]:
    signature = inspect.signature(cls.__init__).parameters
    return [name for name in signature if name not in ("self", "kwargs")]


def extra_defaults() -> dict[str, str]:
    return {field.name: json.dumps(field.default) for field in msgspec.structs.fields(Extra)}


def readme_blocks(language: str) -> list[str]:
    blocks = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", README, re.M | re.S)
    return [re.sub(rf"^{indent}", "", text, flags=re.M) for indent, text in blocks]


def connection_values() -> list[str]:
    """Every value of a connection that README and the docs show for a shell."""
    page_blocks = re.findall(
        r"^\.\. code-block:: bash\n\n((?:   .*\n|\n)+)", page("connections/akinon") + page("sandbox"), re.M
    )
    values = []
    for block in [*readme_blocks("bash"), *page_blocks]:
        words = shlex.split(block, comments=True)
        values += [
            word.removeprefix("AIRFLOW_CONN_AKINON_DEFAULT=") for word in words if word.startswith("AIRFLOW_CONN_")
        ]
        values += [value for flag, value in pairwise(words) if flag == "--conn-json"]
    return values


def messages() -> str:
    """Every text in the package, each on a line, with … for what is put in at run time."""
    texts = []
    for path in sorted((ROOT / "airflow_provider_akinon").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
                texts.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(text.replace("\n", " ") for text in texts)


@pytest.mark.parametrize("cls", [*OPERATORS, AuditEventsArrivedTrigger, AkinonHook])
def test_docstrings_describe_the_parameters(cls):
    """The class docstring, which the reference shows, describes exactly the parameters of the class."""
    assert re.findall(r":param (\w+):", cls.__doc__) == parameters(cls)


@pytest.mark.parametrize("cls", OPERATORS)
def test_templated_parameters(cls):
    """A docstring calls a parameter templated exactly where Airflow renders it."""
    described = re.findall(r":param (\w+):((?:.|\n)*?)(?=\n    :)", cls.__doc__)
    assert {field for field, text in described if "(templated)" in text} == set(cls.template_fields)


def test_statuses_in_docs():
    """The page on verifying has every status, and says rightly whether it is wrong."""
    found = re.findall(r"^   \* - ([a-z, ]+)\n     - (yes|no)$", page("operators/verify_audit_archive"), re.M)
    assert dict(found) == {status.value: "yes" if status.is_wrong else "no" for status in Status}


def test_signature_by_hand(tmp_path):
    """The page's commands make keys, and find a seal's signature right, and wrong where a byte was changed."""
    making, checking = re.findall(
        r"^\.\. code-block:: bash\n\n((?:   .*\n)+)", page("operators/seal_audit_archive"), re.M
    )
    subprocess.run(["bash", "-euc", making], cwd=tmp_path, check=True, capture_output=True)
    key = PrivateKey.parse("key", (tmp_path / "seal.pem").read_text())
    assert PublicKey.parse("key", (tmp_path / "seal.pub.pem").read_text()) == key.public
    seal = SEAL.signed(key).encode()
    for body, status in ((seal, 0), (seal.replace(b'"number": 1', b'"number": 2'), 1)):
        (tmp_path / "seal.json").write_bytes(body)
        checked = subprocess.run(["bash", "-euc", checking], cwd=tmp_path, check=False, capture_output=True)
        assert checked.returncode == status, checked


def test_a_record_of_changes():
    """The page's record of changes, which shows what differs from its receipt, is a receipt whose numbers agree."""
    example, record = re.findall(r"^\.\. code-block:: json\n\n((?:   .*\n)+)", page("receipts"), re.M)
    body = json.dumps(json.loads(example) | json.loads(record)).encode()
    key = json.loads(example)["object"]["key"]
    receipt = parse_receipt(receipt_key(key, hashlib.sha256(body).hexdigest()), body)
    counts = receipt.counts
    assert counts.api_after == counts.window - counts.vanished
    assert counts.window == json.loads(example)["counts"]["window"] + 5
    assert (counts.lines, counts.vanished, len(receipt.changed)) == (0, len(receipt.vanished), 2)
    assert receipt.previous


@needs("jq")
def test_uuids_of_a_window_by_hand(tmp_path):
    """The page's command gives the digest of all uuids of a window's objects."""
    [command] = re.findall(r"^   cat object object\.late-1.*\n(?:   .*\n)+", page("receipts"), re.M)
    uuids = [b"1d6a0c64", b"5f2b8f0a", b"c3d9e7b1"]
    for name, mine in (("object", uuids[:2]), ("object.late-1", uuids[2:])):
        (tmp_path / name).write_bytes(gzip.compress(b"".join(b'{"uuid":"%s"}\n' % uuid for uuid in mine)))
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", inspect.cleandoc(command)],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert ran.stdout.strip() == f"{uuids_sum(uuids):064x}"


def test_names_of_receipts():
    """The receipts that the page on querying shows are called as receipts of the objects that it shows."""
    names = re.findall(r"^     (date=\S+)$", page("querying"), re.M)
    objects = [name for name in names if "/_" not in name]
    assert [name for name in names if "/_" in name] == [receipt_key(name, "<sha256>") for name in objects]
    assert [name.partition(".")[2] for name in objects] == ["jsonl.gz", "late-1.jsonl.gz"]


def test_what_the_export_returns(sandbox, bucket, connect):
    """The operator's page and its docstring have every name of what an export returns, in its order, and no other."""
    connect(sandbox)
    result = export(bucket, UNTIL - timedelta(hours=1), UNTIL)
    section = page("transfers/audit_events_to_s3").partition("\nWhat it returns\n")[2].partition("\nA rerun\n")[0]
    cells = re.findall(r"^   \* - (``.+)$", section, re.M)
    assert {name for cell in cells for name in re.findall(r"``(\w+)``", cell)} == set(result)
    returned = AuditEventsToS3Operator.__doc__.partition(":returns:")[2].partition(":raises")[0]
    assert set(result) <= set(re.findall(r"``(\w+)``", returned))


def test_what_reconciling_returns():
    """The page has every name that the docstring says is returned of a window, and no other."""
    section = page("operators/reconcile_audit_archive").partition("\nWhat it returns\n")[2]
    returned = ReconcileAuditArchiveOperator.__doc__.partition(":returns:")[2].partition(":raises")[0]
    cells = re.findall(r"^   \* - (``.+)$", section, re.M)
    named = {name for cell in cells for name in re.findall(r"``(\w+)``", cell)}
    assert set(re.findall(r"``(\w+)``", returned)) == named | {"uuid", "fields"}


def test_hook_methods():
    """The hook's page and the reference name every public method that is not there for Airflow's forms only."""
    own = {
        name
        for name, member in vars(AkinonHook).items()
        if not name.startswith("_") and callable(getattr(AkinonHook, name)) and not isinstance(member, classmethod)
    }
    assert set(re.findall(r"^   \* - ``(\w+)\(", page("hooks/akinon"), re.M)) == own
    assert own <= set(re.findall(r"\w+", page("reference")))


def test_extra_in_readme():
    """README has exactly the extra's fields, each with its default as JSON."""
    assert dict(re.findall(r"^\| `(\w+)` \| `(.+?)` \|", README, re.M)) == extra_defaults()


def test_errors_in_docs():
    """The errors' page has every error that is raised, and says rightly whether Airflow tries again."""
    bases = {errors.AkinonError, errors.ApiError, errors.ArchiveError}
    raised = {
        name: "no" if cls.permanent else "yes"
        for name, cls in vars(errors).items()
        if inspect.isclass(cls) and issubclass(cls, errors.AkinonError) and cls not in bases
    }
    assert rows(page("errors")) == raised


def test_messages_in_readme():
    """Each message of README's table of failures is a text of the package, in its words."""
    table = README.partition("## When it fails")[2].partition("\n## ")[0]
    quoted = [
        message for cell in re.findall(r"^\| (`.+?) \| ", table, re.M) for message in re.findall(r"`([^`]+)`", cell)
    ]
    assert len(quoted) >= 12
    texts = messages()
    for message in quoted:
        # A status that README names is put in at run time.
        parts = [part.strip() for part in re.split(r"…|\b[1-5]\d\d\b", message)]
        assert max(len(part) for part in parts) >= 8, message
        assert re.search(".*".join(map(re.escape, parts)), texts), message


def test_examples_are_shown():
    """Every example DAG is included in the documentation."""
    shown = {Path(path).stem for rst in PAGES for path, _, _ in INCLUDE.findall(rst.read_text())}
    assert shown == set(EXAMPLES)


def test_included_regions_exist():
    """Every literalinclude names both of its edges, and its file has them once, in order, with code between."""
    count = 0
    for rst in PAGES:
        text = rst.read_text()
        found = INCLUDE.findall(text)
        assert len(found) == text.count("literalinclude::"), rst
        for path, start, end in found:
            source = (rst.parent / path).read_text()
            assert source.count(start) == source.count(end) == 1, path
            assert "import" in source.partition(start)[2].partition(end)[0], path
            count += 1
    assert count


def test_readme_dag(tmp_path):
    """README's DAG, pasted as it is, is one daily DAG with an export to the bucket that the text names."""
    dag_block, on_airflow_2 = readme_blocks("python")
    if not AIRFLOW_3:
        first, second, rest = dag_block.split("\n", 2)
        assert second.startswith("from airflow.sdk ")
        dag_block = f"{first}\n{on_airflow_2}{rest}"
    (tmp_path / "pasted.py").write_text(dag_block)
    dag = load(tmp_path)
    (task,) = dag.tasks
    assert isinstance(task, AuditEventsToS3Operator)
    assert task.retries == 3
    assert f"s3://{task.s3_bucket}/akinon/audit-events/" in README
    assert dag.catchup is False
    assert type(dag.timetable).__name__ == "CronDataIntervalTimetable"
    assert f"--dag-id {dag.dag_id} " in README
    assert f"dags backfill {dag.dag_id} " in README


def test_docs_python_compiles():
    """Python that stands in the docs itself, and not in an example DAG, is Python."""
    blocks = [
        inspect.cleandoc(block)
        for rst in PAGES
        for block in re.findall(
            r"^(?:\.\. code-block:: python|.*[^:.]::)\n\n((?:   .*\n|\n)+)", rst.read_text(), re.M
        )
    ]
    code = [block for block in blocks if "(" in block and "s3://audit-archive/" not in block]
    assert len(code) >= 3
    for block in code:
        compile(block, "docs", "exec")


def test_connections_work(monkeypatch):
    """Every connection that README and the docs show gives usable settings, the same for each way to write it."""
    values = connection_values()
    assert len(values) == 7
    settings = []
    for value in values:
        monkeypatch.setenv("AIRFLOW_CONN_AKINON_DEFAULT", value)
        settings.append(AkinonHook().settings)
    urls = sorted({setting.base_url for setting in settings})
    assert urls == ["http://127.0.0.1:8765", "https://shop.example.com"]
    assert {setting.key for setting in settings} == {"YOUR_API_KEY", "sandbox-key"}
    assert {setting.extra for setting in settings} == {Extra()}


def test_sandbox_flags():
    """Every flag that the sandbox's page shows exists, with a value that it takes."""
    from airflow_provider_akinon.sandbox.options import parse

    flags = [
        flag
        for cell in re.findall(r"^   \* - (``--.+)$", page("sandbox"), re.M)
        for flag in re.findall(r"``(--[^`]+)``", cell)
    ]
    assert len(flags) >= 12
    parse([word for flag in flags for word in flag.split()])


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_links_and_files(text):
    """Every file that README or CONTRIBUTING links to, or names by its path, exists."""
    linked = [target for target in re.findall(r"\]\(([^)]+)\)", text) if not target.startswith("https://")]
    named = re.findall(r"`((?:\w+/)+\w+\.\w+|\w+/|[A-Z]+\.md)`", text)
    places = (ROOT, ROOT / "airflow_provider_akinon")
    missing = [name for name in linked + named if not any((place / name).exists() for place in places)]
    assert [name for name in missing if not name.startswith(("docs/_build", "dist"))] == []


@pytest.mark.parametrize("text", [README, CONTRIBUTING, page("quickstart")], ids=["README", "CONTRIBUTING", "docs"])
def test_make_targets(text):
    """Every `make` target that is named exists."""
    targets = re.findall(r"^([a-z0-9.-]+):", (ROOT / "Makefile").read_text(), re.M)
    named = re.findall(r"(?:`|^ {3,4}|^)make ([a-z0-9.-]+)", text, re.M)
    assert named
    assert set(named) <= set(targets)
