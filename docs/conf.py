"""Sphinx's settings; ``make docs`` builds the site. Nothing is fetched from the network."""

from __future__ import annotations

import os
import tempfile

# Importing Airflow writes its configuration into its home; autodoc must not do so into the reader's.
_home = tempfile.TemporaryDirectory(prefix="airflow-docs-")  # gone with the process
os.environ.setdefault("AIRFLOW_HOME", _home.name)

from airflow_batch_provider import __version__  # noqa: E402 - after Airflow's home

project = "airflow-batch-provider"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["images", "_build"]

myst_enable_extensions = ["tasklist"]
myst_heading_anchors = 3  # links to headings are those of GitHub

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_display_short_literal_types = True
python_maximum_signature_line_length = 100
nitpick_ignore_regex = [
    # Names of types in signatures: of the standard library and libraries, and of ours that no page explains.
    (r"py:class", r"(collections|pathlib|tuple|typing|Mapping)\b.*"),
    (r"py:class", r"JSON|Lines|Quality|Messages|Parameters|RowFormat|.*\.(Policy|Engine)"),
    # What the docstrings of the inner parts refer to beside it.
    (r"py:mod", r"airflow_batch_provider\.core\.estimating|airflow_batch_provider\.run"),
    (r"py:mod", r"airflow_batch_provider\.backends\.resuming|airflow_batch_provider\.core\.refusals"),
    (r"py:func", r"airflow_batch_provider\.run\.pricing\.find_price|airflow_batch_provider\.core\.refusals\.error_of"),
    (r"py:class", r"airflow_batch_provider\.(core\.redaction\.Redactor|backends\.paging\.Pages?)"),
]

html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
html_show_copyright = False
