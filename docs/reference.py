"""Writes connections.md and cli.md from the code: ``make pages``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airflow_batch_provider import cli
from airflow_batch_provider.connections import own_types
from airflow_batch_provider.connections.forms import form

FOLDER = Path(__file__).parent
CONNECTIONS = """# Connection fields

This page is generated from the code by `make pages`; a test keeps it up to date.

The connection's type decides the provider. Every type has a form in the UI; Airflow 3.1 shows the fields of *Extra* as
JSON instead. As an environment variable, *Extra* is the object `extra`:

```console
AIRFLOW_CONN_OPENAI_PROD='{"conn_type": "openai_batch", "password": "...", "extra": {"default_model": "gpt-5-mini"}}'
```

An unknown field of *Extra* is an error that names the known ones. Values of secret fields are masked in logs.
`airflow-batch check CONN_ID` tests a connection at no cost.
"""
SHARED = """
## For every type

| field of *Extra* | type | |
|---|---|---|
"""
COMMANDS = """# Command line

This page is generated from the code by `make pages`; a test keeps it up to date.

`airflow-batch` has commands for use outside a DAG. Results are written to standard output, problems to standard error.
Exit codes: 0 success, 1 problems in the file or the connection, 2 wrong usage. Paths may be local
or `s3://`, `gs://`, `abfs://`, as in Airflow's object storage.
"""
EXAMPLES = {
    "validate": "airflow-batch validate requests.jsonl --to openai_batch",
    "plan": "airflow-batch plan requests.jsonl --to azure_openai_batch --model gpt-5 --expected-output-tokens 50",
    "translate": "airflow-batch translate requests.jsonl --to bedrock --model amazon.nova-lite-v1:0",
    "check": "airflow-batch check openai_prod",
    "show": "airflow-batch show s3://aws_default@bucket/reviews/answers",
    "serve": "airflow-batch serve --engine echo --data-dir served --port 8900",
}


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _kind(field: dict[str, Any]) -> str:
    schema = field["schema"]
    kind = next(name for name in schema["type"] if name != "null")
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    return "secret" if schema.get("format") == "password" else str(kind)


def _fields(fields: dict[str, Any]) -> Iterator[str]:
    for name, field in fields.items():
        yield f"| `{name}` | {_kind(field)} | {_cell(field['description'])} |"


def _standard(behaviour: dict[str, Any]) -> Iterator[str]:
    for name in ("host", "login", "password"):
        if name not in behaviour["hidden-fields"]:
            label, shown = behaviour["relabeling"].get(name, name.capitalize()), behaviour["placeholders"].get(name, "")
            example = "" if not shown else shown if " " in shown else f"e.g. `{shown}`"
            yield f"| `{name}` | {label} | {_cell(example)} |"


def connections() -> str:
    """The page of the connections' fields."""
    rows = [form(row) for row in own_types().values()]
    shared = set.intersection(*(set(row["conn-fields"]) for row in rows))
    page, shared_fields = [CONNECTIONS.rstrip()], ""
    for row in rows:
        own = {field: spec for field, spec in row["conn-fields"].items() if field not in shared}
        shared_fields = SHARED + "\n".join(
            _fields({field: row["conn-fields"][field] for field in row["conn-fields"] if field in shared})
        )
        provider = row["connection-type"].removesuffix("_batch")
        more = f"{row['hook-name']}. More: [{provider}](providers/{provider}.md)."
        page += [f"\n## `{row['connection-type']}`\n", f"{more}\n"]
        page += ["| field | in the form | |", "|---|---|---|", *_standard(row["ui-field-behaviour"])]
        if own:
            page += ["", "| field of *Extra* | type | |", "|---|---|---|", *_fields(own)]
    return "\n".join(page) + "\n" + shared_fields + "\n"


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        name = ", ".join(action.option_strings) or str(action.metavar or action.dest)
        value = "" if action.nargs == 0 or not action.option_strings else str(action.metavar or action.dest.upper())
        if action.choices:
            value = ", ".join(map(str, action.choices))
        required = " (required)" if action.required else ""
        said = (action.help or "") % {"default": action.default, "prog": parser.prog}
        yield f"| `{name}`{required} | {_cell(value)} | {_cell(said)} |"


def commands() -> str:
    """The page of the command line."""
    parser = cli._parser()
    (group,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    page = [COMMANDS.rstrip()]
    for choice in group._choices_actions:
        page += [f"\n## `{choice.dest}`\n", f"{_sentence(str(choice.help))}.\n"]
        page += ["```console", EXAMPLES[choice.dest], "```\n"]
        page += ["| argument | value | |", "|---|---|---|", *_options(group.choices[choice.dest])]
    return "\n".join(page) + "\n"


PAGES = {"connections.md": connections, "cli.md": commands}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())
