"""``airflow-batch``: what can be done without a DAG.

Exit codes: 0 success, 1 problems in the file or the connection, 2 wrong usage. Results are written to standard output,
problems to standard error. Each command imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

import orjson

from airflow_batch_provider import __version__
from airflow_batch_provider.core.counts import counted
from airflow_batch_provider.core.errors import BatchInferenceError, ConfigurationError, InputError, Problem

if TYPE_CHECKING:
    from airflow_batch_provider.backends.base import Backend
    from airflow_batch_provider.core.records import BatchRequest
    from airflow_batch_provider.dialects.base import LineFormat
    from airflow_batch_provider.run.staging import Lines

PROBLEMS, MISUSED = 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    :param argv: the arguments; None for the process's own.
    :return: the exit code.
    """
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except InputError as error:
        _print_problems(error)
        return PROBLEMS
    except ConfigurationError as error:
        print(f"airflow-batch: {error}", file=sys.stderr)
        return MISUSED
    except BatchInferenceError as error:
        print(f"airflow-batch: {error}", file=sys.stderr)
        return PROBLEMS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="airflow-batch", description="LLM batch inference, outside of a DAG.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    validate = commands.add_parser("validate", help="check a request file and report every problem by its line number")
    _add_file_arguments(validate)
    validate.set_defaults(run=_validate)

    plan = commands.add_parser("plan", help="check a request file and show the jobs it would become")
    _add_file_arguments(plan)
    plan.add_argument(
        "--max-jobs-in-flight", type=int, metavar="N", help="jobs that may run at once, as in the operator"
    )
    plan.add_argument(
        "--max-enqueued-tokens", type=int, metavar="N", help="tokens that may be queued at once, as in the operator"
    )
    plan.add_argument(
        "--expected-output-tokens", type=int, metavar="N", help="the longest answer of a row without max_tokens"
    )
    plan.add_argument("--prices", metavar="JSON", help="USD for a million tokens by model or *, as in the connection")
    plan.add_argument("--json", action="store_true", help="print one JSON object")
    plan.set_defaults(run=_plan)

    translate = commands.add_parser("translate", help="write requests as a provider's own lines, or read them back")
    ways = translate.add_mutually_exclusive_group(required=True)
    ways.add_argument("--to", metavar="PROVIDER", help="bedrock or vertex_ai: OpenAI requests to the provider's lines")
    ways.add_argument("--from", dest="back", metavar="PROVIDER", help="the provider's output lines to OpenAI's results")
    translate.add_argument("file", metavar="FILE", help="JSONL, also gzipped; a path or s3://, gs://, abfs://")
    translate.add_argument("--model", help="model to use instead of the lines' models; required with --from")
    translate.add_argument("--endpoint", help="endpoint to use instead of the lines' url")
    translate.add_argument(
        "--requests", metavar="FILE", help="with --from: the request file, to restore its custom_ids"
    )
    translate.set_defaults(run=_translate)

    check = commands.add_parser("check", help="test a connection with one free call to its provider")
    check.add_argument("conn_id", metavar="CONN_ID", help="id of an Airflow connection")
    check.set_defaults(run=_check)

    show = commands.add_parser("show", help="show the state of a run and what happens next; reads only its directory")
    show.add_argument("directory", metavar="RUN_DIR", help="a run directory; a path or s3://, gs://, abfs://")
    show.add_argument("--json", action="store_true", help="print one JSON object")
    show.set_defaults(run=_show)

    from airflow_batch_provider.local import cli as local

    serve = commands.add_parser("serve", help="run the embedded batch server")
    local.add_arguments(serve)
    serve.set_defaults(run=local.run)
    return parser


def _add_file_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="JSONL of requests, also gzipped; a path or s3://, gs://, abfs://")
    parser.add_argument(
        "--to", required=True, metavar="CONNECTION_TYPE", help="connection type whose limits apply, e.g. openai_batch"
    )
    parser.add_argument("--behind", metavar="PROVIDER", help="provider behind the gateway, e.g. azure_openai")
    parser.add_argument("--model", help="model to use instead of the lines' models, as in the operator")
    parser.add_argument("--endpoint", help="endpoint to use instead of the lines' url, as in the operator")


def _validate(arguments: argparse.Namespace) -> int:
    with _airflow_logs_apart():
        from airflow_batch_provider.core.records import RunOptions
        from airflow_batch_provider.run.preview import Plan

        backend = backend_of(arguments.to, arguments.behind)
        plan = Plan.of(arguments.file, backend, RunOptions(model=arguments.model, endpoint=arguments.endpoint))
    for warning in plan.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(
        f"{plan.path}: no problems for {arguments.to}; {counted(plan.rows, 'row')}, {counted(len(plan.shards), 'job')}"
    )
    return 0


def _plan(arguments: argparse.Namespace) -> int:
    with _airflow_logs_apart():
        from airflow_batch_provider.core.records import RunOptions
        from airflow_batch_provider.run.preview import Plan

        backend = backend_of(arguments.to, arguments.behind, prices=arguments.prices)
        options = RunOptions(
            model=arguments.model,
            endpoint=arguments.endpoint,
            max_jobs_in_flight=arguments.max_jobs_in_flight,
            max_enqueued_tokens=arguments.max_enqueued_tokens,
            expected_output_tokens=arguments.expected_output_tokens,
        )
        plan = Plan.of(arguments.file, backend, options)
    for warning in plan.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    summary = {**plan.as_json(), "to": arguments.to}
    print(orjson.dumps(summary, option=orjson.OPT_INDENT_2).decode() if arguments.json else plan.table())
    return 0


def _airflow_logs_apart() -> contextlib.AbstractContextManager[object]:
    """Airflow logs to what standard output is when it is imported; ours is for results."""
    return contextlib.redirect_stdout(sys.stderr)


def _translate(arguments: argparse.Namespace) -> int:
    provider = str(arguments.to or arguments.back)
    stream = sys.stdout.buffer
    with _airflow_logs_apart():
        from airflow_batch_provider.run import staging

        backend = backend_of(provider if provider.endswith("_batch") else f"{provider}_batch", None)
        source = staging.file_source(arguments.file)
        way = _from_wire if arguments.back else _to_wire
        try:
            return way(arguments, backend, source(), _Output(stream))
        finally:
            stream.flush()


class _Output:
    """Standard output, by lines that are counted."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.lines = 0

    def write(self, line: bytes) -> None:
        self._stream.write(line + b"\n")
        self.lines += line.count(b"\n") + 1


class _Printing:
    """Prints the wire lines that validation makes, in input order; each row's position is its place in the output."""

    def __init__(self, line_format: LineFormat, out: _Output) -> None:
        self.notes = line_format.notes
        self.variant = line_format.variant
        self._encode = line_format.encode
        self._out = out

    def encode(self, request: BatchRequest, position: int) -> bytes:
        wire = self._encode(request, self._out.lines)
        self._out.write(wire)
        return wire


def _to_wire(arguments: argparse.Namespace, backend: Backend, lines: Lines, out: _Output) -> int:
    from dataclasses import replace

    from airflow_batch_provider.core.validation import Rules, validate

    rules = Rules(replace(backend.models, override=arguments.model), backend.limits, arguments.endpoint)
    report = validate(lines, arguments.file, rules, lambda model, end: _Printing(backend.line_format(model, end), out))
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    files = len(report.groups)
    if files > 1:
        print(f"warning: split these lines into {files} files, by model, endpoint or schema", file=sys.stderr)
    report.raise_for_problems()
    return 0


def _rows(path: str, lines: Lines, line_format: LineFormat) -> Iterator[tuple[str, int]]:
    """The custom_ids of the rows that can have been sent, and of how many wire lines each is."""
    for number, line in lines:
        try:
            row = orjson.loads(line)
            yield str(row["custom_id"]), len(line_format.split(row.get("body") or {}))
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:  # noqa: PERF203 - each line is reported by itself
            raise InputError(path, [Problem(number, "custom_id", f"cannot be read: {error!r}")]) from error


def _from_wire(arguments: argparse.Namespace, backend: Backend, lines: Lines, out: _Output) -> int:
    from airflow_batch_provider.core.validation import normal_endpoint
    from airflow_batch_provider.dialects.base import Sent
    from airflow_batch_provider.dialects.joining import Parts
    from airflow_batch_provider.dialects.openai import error_line
    from airflow_batch_provider.run import staging

    model = backend.models.resolve(arguments.model)
    if model is None:
        raise ConfigurationError("--model is missing; it decides how the lines are read")
    line_format = backend.line_format(model, normal_endpoint(arguments.endpoint or "/v1/chat/completions"))
    parts = None
    if arguments.requests:
        parts = Parts(_rows(arguments.requests, staging.file_source(arguments.requests)(), line_format))
    sent = Sent(parts.ids if parts else None)
    kept: dict[str, bytes] = {}
    problems = []
    for number, line in lines:
        result = line_format.decode(line, sent)
        if result.custom_id is None:
            problems.append(Problem(number, "", f"not an output line of {backend.name}, or not of a row of --requests"))
        elif parts and parts.several:
            kept[result.custom_id] = result.line
        else:
            out.write(result.line)
    if parts and parts.several:
        lines_of = (
            kept.get(part) or error_line(part, "missing", "No output line has an answer to this row.")
            for part in parts.ids
        )
        for row in parts.joined(lines_of):
            out.write(row)
    if problems:
        raise InputError(arguments.file, problems)
    return 0


def backend_of(conn_type: str, behind: str | None, *, prices: str | None = None) -> Backend:
    """The backend of a connection type as an empty connection gives it: limits and lines, no calls to a provider."""
    import json

    from airflow.sdk import Connection

    from airflow_batch_provider.connections import connection_types
    from airflow_batch_provider.hooks.base import hook_class

    known = connection_types()
    if conn_type not in known:
        raise ConfigurationError(f"unknown connection type {conn_type!r}; use one of {', '.join(known)}")
    try:
        extra = {"behind": behind, "prices": json.loads(prices or "{}")}
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"--prices is not valid JSON: {error}") from error
    extra = {name: value for name, value in extra.items() if value}
    connection = Connection(conn_id=conn_type, conn_type=conn_type, extra=json.dumps(extra) if extra else None)
    return hook_class(conn_type, conn_type)(conn_type, connection=connection).backend


def _print_problems(error: InputError) -> None:
    for problem in error.problems:
        print(f"{error.path}: {problem}", file=sys.stderr)
    hidden = error.total - len(error.problems)
    if hidden:
        print(f"{error.path}: ... and {hidden:,} more", file=sys.stderr)
    print(counted(error.total, "problem"), file=sys.stderr)


def _show(arguments: argparse.Namespace) -> int:
    import time

    with _airflow_logs_apart():
        from airflow_batch_provider.run.show import describe, table
        from airflow_batch_provider.run.storage import RunDirectory

        state = describe(RunDirectory(arguments.directory), time.time())
    print(orjson.dumps(state, option=orjson.OPT_INDENT_2).decode() if arguments.json else table(state))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    # As Airflow's own command line does: without it, connections made in the UI are not looked up in its database.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    with _airflow_logs_apart():
        well, seen = _seen(arguments.conn_id)
    print(f"{arguments.conn_id}: {seen}", file=sys.stdout if well else sys.stderr)
    return 0 if well else PROBLEMS


def _seen(conn_id: str) -> tuple[bool, str]:
    from airflow_batch_provider.hooks.check import check

    try:
        from airflow.sdk.exceptions import AirflowNotFoundException
    except ImportError:  # Airflow 3.1
        from airflow.exceptions import AirflowNotFoundException  # type: ignore[attr-defined]

    try:
        return check(conn_id)
    except AirflowNotFoundException:
        return False, f"there is no such connection; add it in the UI or as AIRFLOW_CONN_{conn_id.upper()}"
