"""Writes the parts of other pages that are made of the connection types' rows: ``python docs/rows.py``.

A part stands between ``<!-- rows: NAME -->`` and ``<!-- end of rows -->``.
"""

from __future__ import annotations

import re
from pathlib import Path

from airflow_batch_provider.connections import own_types
from airflow_batch_provider.connections.base import ConnectionType
from airflow_batch_provider.connections.settings import Settings

ROOT = Path(__file__).parents[1]


def _any_of(words: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _summary(row: ConnectionType) -> str:
    over = f", over {_any_of([each.title for each in row.behind.values()])}" if row.behind else ""
    return row.summary or f"{row.title}{over}"


def readme() -> str:
    """The connection types of the README."""
    lines = ["| connection type | provider | fields | page |", "|---|---|---|---|"]
    for row in own_types().values():
        page = f"[{row.provider}](docs/providers/{row.provider}.md)"
        lines.append(f"| `{row.name}` | {_summary(row)} | {row.needs} | {page} |")
    names = [f"`{name}`" for name in Settings.model_fields]
    return "\n".join([*lines, "", f"All take {', '.join(names[:-1])} and {names[-1]} in *Extra*."])


def index() -> str:
    """The providers in the index of the site."""
    pages = [f"providers/{row.provider}" for row in own_types().values()]
    return "\n".join(["```{toctree}", ":caption: Providers", ":maxdepth: 1", "", *pages, "translation", "```"])


def hooks() -> str:
    """The hooks that have a class of their own."""
    classes = [f".. autoclass:: {row.hook}\n" for row in own_types().values() if row.hook]
    return "\n".join(["```{eval-rst}", *classes]) + "```"


def routes() -> str:
    """The fake routes of the page on testing."""
    lines = ["| route | connection type | behind it | further arguments |", "|---|---|---|---|"]
    for row in own_types().values():
        for name, fake in row.routes.items():
            behind = row.behind[fake.behind].title if fake.behind else ""
            lines.append(f"| `{name}` | `{row.name}` | {behind} | {fake.rules} |")
    return "\n".join(lines)


def discounts() -> str:
    """Where prices come from, and what a batch costs less, by provider."""
    lines = ["| provider | price list | batch discount | source |", "|---|---|---|---|"]
    for row in own_types().values():
        for title, way in row.ways.items():
            known = row.providers[way] if row.behind else row.known
            prices = known.price_list
            if prices is None:
                lines.append(f"| {title} | none | | the connection's `prices` alone |")
                continue
            share = "unknown" if prices.discount is None else f"{prices.discount:.0%}".replace("%", " %")
            lines.append(f"| {title} | `{prices.name}` | {share} | {prices.source} |")
    return "\n".join(lines)


PARTS = {
    "README.md": {"connection types": readme},
    "docs/cost.md": {"discounts": discounts},
    "docs/index.md": {"providers": index},
    "docs/hooks.md": {"hooks": hooks},
    "docs/testing.md": {"routes": routes},
}


def page(path: str) -> str:
    """A page with its parts anew."""
    text = (ROOT / path).read_text()
    for name, part in PARTS[path].items():
        shape = rf"(<!-- rows: {name} -->\n\n).*?(\n\n<!-- end of rows -->)"
        text, times = re.subn(shape, lambda found: f"{found[1]}{part()}{found[2]}", text, flags=re.DOTALL)  # noqa: B023
        assert times == 1, f"{path} has no place for {name}"
    return text


if __name__ == "__main__":
    for written in PARTS:
        (ROOT / written).write_text(page(written))
