"""The documentation's build: offline, and strict (``sphinx-build -W -n``).

Autodoc imports the package and so Airflow, which writes a configuration where ``AIRFLOW_HOME`` points to: a
directory of its own, unless the caller names one. No inventory of another project is fetched.
"""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-docs-"))

from airflow_provider_akinon import __version__

project = "airflow-provider-akinon"
author = "the contributors"
copyright = "the contributors; Apache License 2.0"
version = release = __version__

extensions = ["sphinx.ext.autodoc", "archive", "parameters"]
exclude_patterns = ["_build", "_ext"]
default_role = "code"  # docstrings write names in single backticks

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"

nitpicky = True
nitpick_ignore_regex = [
    # Types of other projects: without their inventories there is nothing to link to.
    ("py:.*", r"(airflow|collections|datetime|msgspec|requests|typing|uuid|tenacity|boto3)\..*"),
    # Names of the standard library as annotations and docstrings write them.
    (
        "py:.*",
        r"(Any|Callable|ClassVar|IO|Iterator|Mapping|None|ValueError|Exception|datetime|timedelta|tzinfo|Path)",
    ),
    ("py:.*", r"(bool|bytes|dict|float|int|list|object|str|tuple|optional)(\[.*\])?"),
    # Airflow's own, named in `:raises:`.
    ("py:exc", "Airflow(Fail|Skip)Exception"),
]

html_theme = "furo"
html_title = f"airflow-provider-akinon {release}"
html_show_sphinx = False
html_copy_source = False
