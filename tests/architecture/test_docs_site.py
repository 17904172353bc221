"""The site builds without a warning, and its pages show what the code and the example DAGs are."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
import textwrap
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from airflow_batch_provider.core import errors
from airflow_batch_provider.core.errors import BatchInferenceError, PermanentError, RetryableError, WaitError
from tests.architecture.measure import PACKAGE, ROOT
from tests.patience import PATIENCE

DOCS = ROOT / "docs"
DAGS = sorted(path.name for path in (ROOT / "dags").glob("*.py"))
SHOWS_DAGS = ("README.md", "docs/quickstart.md")
TROUBLES = (DOCS / "troubleshooting.md").read_text()
WHAT_AIRFLOW_DOES = {PermanentError: "fails at once", RetryableError: "retries", WaitError: "the task waits"}
BASES = {BatchInferenceError, WaitError}


# ---- the build -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from nothing, every warning an error, where no proxy and no name leads anywhere."""
    folder = tmp_path_factory.mktemp("site")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    nowhere = "http://127.0.0.1:9"
    env = kept | {"AIRFLOW_HOME": str(folder / "airflow"), "PYTHONPATH": str(ROOT)}
    env |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), nowhere)
    strict = ["-W", "--keep-going", "-n", "-q", "-E", "-b", "html"]
    argv = [sys.executable, "-m", "sphinx", *strict, "-d", str(folder / "doctrees"), str(DOCS), str(folder / "html")]
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr[-6000:]
    return folder / "html"


class Links(HTMLParser):
    """What a page links to, and what can be linked to in it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.ids: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.add(value)
            if name == "id" and value:
                self.ids.add(value)


def test_every_page_is_in_the_site(site: Path) -> None:
    """Each page of docs/ became one of the site; no warning said otherwise."""
    pages = {path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*.md")}
    built = {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}
    assert pages <= built
    assert len(pages) > 20


def test_every_link_in_the_site_leads_somewhere(site: Path) -> None:
    """Each relative link of the site is a file of it, each fragment an id there; nothing is loaded from elsewhere."""
    pages = {path: Links(path) for path in site.rglob("*.html")}
    broken = []
    for page, seen in pages.items():
        for link in seen.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link.startswith("#"):
                continue
            target = (page.parent / unquote(parts.path)).resolve()
            there = pages.get(target)
            if not target.exists() or (there and parts.fragment and unquote(parts.fragment) not in there.ids):
                broken.append(f"{page.relative_to(site)}: {link}")
    assert broken == []


def test_the_operators_page_has_the_docstrings(site: Path) -> None:
    """The reference tells every argument of the operators with its words."""
    told = (site / "operators.html").read_text()
    from airflow_batch_provider.operators import batch_inference

    for name in batch_inference.__all__:
        assert f'id="airflow_batch_provider.operators.batch_inference.{name}"' in told
        own = re.findall(r":param (\w+):", getattr(batch_inference, name).__doc__ or "")
        assert own
        assert [argument for argument in own if f"<strong>{argument}</strong>" not in told] == []


# ---- README and quick start show the example DAGs -------------------------------------------------------------------


@cache
def sources() -> tuple[str, ...]:
    return tuple((ROOT / "dags" / name).read_text() for name in DAGS)


def is_excerpt(block: str) -> bool:
    """Whether these lines stand together in one of the DAG files, but for a common indentation."""
    lines = block.strip("\n").split("\n")
    for source in sources():
        there = source.split("\n")
        for begin in range(len(there) - len(lines) + 1):
            if textwrap.dedent("\n".join(there[begin : begin + len(lines)])) == textwrap.dedent("\n".join(lines)):
                return True
    return False


@pytest.mark.parametrize("page", SHOWS_DAGS)
def test_python_shown_is_of_a_dag_file(page: str) -> None:
    """Each block of Python is a verbatim excerpt of a file in dags/, which a test runs."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    assert [block for block in blocks if not is_excerpt(block)] == []
    assert not is_excerpt(blocks[0].replace("=", "= ", 1))


def test_every_dag_is_on_the_page() -> None:
    """docs/dags.md includes every file of dags/ as it is, and links to it."""
    page = (DOCS / "dags.md").read_text()
    assert sorted(re.findall(r"```\{literalinclude\} \.\./dags/(\w+\.py)\n", page)) == DAGS
    assert [name for name in DAGS if f"](../dags/{name})" not in page] == []


# ---- troubleshooting ------------------------------------------------------------------------------------------------


def raised() -> list[type[BatchInferenceError]]:
    """The errors that the package raises: all but those that only group others."""
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, BatchInferenceError)]
    return [kind for kind in kinds if kind not in BASES]


def section(name: str) -> str:
    found = re.search(rf"^### {name}\n(.*?)(?=^##|\Z)", TROUBLES, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


@cache
def templates() -> tuple[re.Pattern[str], ...]:
    """Every text of the package that is long enough to be a message, what is filled in as a wildcard."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        nodes = [*ast.walk(ast.parse(path.read_bytes()))]
        pieces = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in nodes:
            if id(node) in pieces:
                continue
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            said = [part.value if isinstance(part, ast.Constant) else None for part in parts]
            words = "".join(text for text in said if isinstance(text, str))
            if len(words) >= 9 and words.count(" ") >= 2 and "\n" not in words:
                found.add("".join(re.escape(text) if isinstance(text, str) else ".*?" for text in said))
    return tuple(re.compile(pattern) for pattern in found)


@pytest.mark.parametrize("kind", raised(), ids=lambda kind: kind.__name__)
def test_every_error_has_a_section(kind: type[BatchInferenceError]) -> None:
    """Each error has a message as the code writes it, a remedy, and what Airflow does then, as its class decides."""
    told = section(kind.__name__)
    says = next(words for base, words in WHAT_AIRFLOW_DOES.items() if issubclass(kind, base))
    assert f"\nAirflow: {says}" in told
    assert "\nRemedy: " in told
    assert f"| [{kind.__name__}](#{kind.__name__.lower()}) |" in TROUBLES
    messages = re.findall(r"```text\n(.*?)```", told, re.DOTALL)
    assert messages
    for message in messages:
        assert any(pattern.search(message) for pattern in templates()), f"no code writes {message!r}"


def test_an_error_without_a_section_is_found() -> None:
    """The checks above can fail: another name has no section, another message no code that writes it."""
    assert section("StrangerError") == ""
    assert not any(pattern.search("The moon is made of green cheese\n") for pattern in templates())
    assert len(raised()) > 15
