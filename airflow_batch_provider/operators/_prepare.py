"""From the author's rows to a request file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow.sdk import BaseOperator

from airflow_batch_provider.core.errors import ConfigurationError, InputError, Problem
from airflow_batch_provider.core.preparing import Messages, RequestTemplate, prepare
from airflow_batch_provider.core.rows import RowFormat, format_of, read_rows
from airflow_batch_provider.operators._run import airflow_errors, checked_directory
from airflow_batch_provider.storage import open_path, open_stream

if TYPE_CHECKING:
    from airflow.sdk import Context


class BatchInferencePrepareOperator(BaseOperator):
    """Write one request for every row of a CSV or JSON Lines file, as a JSONL that every provider's batch takes.

    ``custom_id``, ``messages``, ``prompt`` and ``body`` hold Jinja templates that see the one name ``row`` and are
    rendered once per row, not by Airflow (they are no template fields). Text stands in them as it is, null as nothing,
    everything else as JSON. A row without the column, an id that is empty or comes twice: every such row is reported by
    its line, and nothing is written.

    Returns ``output_path``, and pushes ``rows``.

    :param source: the rows: ``.csv`` or ``.tsv`` with a header, ``.jsonl`` or ``.ndjson`` with one object a line, each
        also gzipped, on any store (``s3://conn_id@bucket/key``). Read as a stream.
    :param output_path: the request file, replaced as a whole.
    :param messages: chat messages, e.g. ``[{"role": "user", "content": "Sentiment of: {{ row.text }}"}]``; or
    :param prompt: the one text to ask or to embed.
    :param body: further fields of each request's body, e.g. ``{"temperature": 0, "max_tokens": 50}``.
    :param custom_id: the row's id, e.g. ``"review-{{ row.id }}"``; by default ``row-`` and its line in the source.
    :param model: written into each request; leave it out to take the connection's.
    :param endpoint: e.g. ``/v1/chat/completions``, ``/v1/responses``, ``/v1/embeddings``.
    :param json_schema: a JSON schema that every answer must follow; its ``title`` becomes its name.
    :param strict: whether the provider must enforce the schema to the letter.
    :param limit: take only the first so many rows.
    :param source_format: ``"csv"`` or ``"jsonl"``, where the name does not tell.
    :param delimiter: of CSV; by default a comma, and a tab for ``.tsv``.
    :param allow_local_path: allow a local ``output_path`` although tasks may run on several machines.
    """

    template_fields: Sequence[str] = ("source", "output_path", "model", "limit")
    ui_color = "#e6f2d5"

    def __init__(
        self,
        *,
        source: str,
        output_path: str,
        messages: Messages | None = None,
        prompt: str | None = None,
        body: Mapping[str, Any] | None = None,
        custom_id: str | None = None,
        model: str | None = None,
        endpoint: str = "/v1/chat/completions",
        json_schema: Mapping[str, Any] | None = None,
        strict: bool = True,
        limit: int | str | None = None,
        source_format: RowFormat | None = None,
        delimiter: str | None = None,
        allow_local_path: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.output_path = output_path
        self.messages = messages
        self.prompt = prompt
        self.body = body
        self.custom_id = custom_id
        self.model = model
        self.endpoint = endpoint
        self.json_schema = json_schema
        self.strict = strict
        self.limit = limit
        self.source_format = source_format
        self.delimiter = delimiter
        self.allow_local_path = allow_local_path
        # Compiled now to be thrown away: a template that cannot work is an import error of the DAG, not a failed run.
        self._template()

    def execute(self, context: Context) -> str:
        """Write the request file."""
        with airflow_errors():
            rows = self._write()
        self.log.info("%d requests written to %s", rows, self.output_path)
        context["ti"].xcom_push(key="rows", value=rows)
        return self.output_path

    def _template(self) -> RequestTemplate:
        return RequestTemplate.compile(
            endpoint=self.endpoint,
            messages=self.messages,
            prompt=self.prompt,
            body=self.body,
            custom_id=self.custom_id,
            model=self.model,
            json_schema=self.json_schema,
            strict=self.strict,
        )

    def _write(self) -> int:
        template, limit = self._template(), self._limit()
        source_format, delimiter = (self.source_format, ",") if self.source_format else format_of(self.source)
        target = open_path(self.output_path)
        if str(target) == str(open_path(self.source)):
            raise ConfigurationError(f"output_path is the source itself, {self.source}; give it another name")
        directory = checked_directory(str(target.parent), allow_local_path=self.allow_local_path)
        count = 0
        with self._opened() as stream, directory.writer(target.name) as out:
            rows = read_rows(stream, self.source, source_format, self.delimiter or delimiter)
            for line in prepare(rows, template, self.source, limit):
                out.write(line + b"\n")
                count += 1
        return count

    def _opened(self) -> BinaryIO:
        try:
            return open_stream(self.source)
        except FileNotFoundError as error:
            raise InputError(self.source, [Problem(None, "", "there is no such file")]) from error
        except (IsADirectoryError, NotADirectoryError, PermissionError) as error:
            raise InputError(self.source, [Problem(None, "", f"cannot be read: {error}")]) from error

    def _limit(self) -> int | None:
        if self.limit is None or self.limit == "":
            return None
        try:
            limit = int(self.limit)
        except (TypeError, ValueError):
            limit = 0
        if limit < 1:
            raise ConfigurationError(f"limit must be a whole number of 1 or more, not {self.limit!r}")
        return limit
