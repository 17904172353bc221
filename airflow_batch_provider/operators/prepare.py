"""From the author's rows to a request file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from airflow.sdk import BaseOperator

from airflow_batch_provider.core.counts import counted, read_whole_guard
from airflow_batch_provider.core.errors import ConfigurationError, InputError, Problem
from airflow_batch_provider.core.preparing import Messages, RequestTemplate, prepare
from airflow_batch_provider.operators.connected import checked_directory, image_policy
from airflow_batch_provider.operators.errors import airflow_errors

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_batch_provider.core.rows import NumberedRow, RowFormat
    from airflow_batch_provider.operators.sql import Parameters


class _Seen:
    """Rows that remember the number of the one that was taken last; a request is made of one before the next."""

    number = 0

    def __init__(self, rows: Iterable[NumberedRow]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[NumberedRow]:
        for row in self._rows:
            self.number = row[0]
            yield row


class BatchInferencePrepareOperator(BaseOperator):
    """Write one request for every row of a file or of a SELECT, as a JSONL that every provider's batch takes.

    ``custom_id``, ``messages``, ``prompt`` and ``body`` hold Jinja templates that see the one name ``row`` and are
    rendered once per row, not by Airflow (they are not template fields). Text is inserted as it is, null as an empty
    text, everything else as JSON. Each row that lacks the column, or whose id is empty or a duplicate, is reported by
    its line number, and nothing is written.

    Returns ``output_path``, and pushes ``rows``.

    :param source: the rows: ``.csv`` or ``.tsv`` with a header, ``.jsonl`` or ``.ndjson`` with one object a line, each
        also gzipped, on any store (``s3://conn_id@bucket/key``). Read as a stream. Or
    :param sql: a SELECT, or the name of a ``.sql`` file; rendered by Airflow. ``row`` has its columns by name: dates as
        ISO 8601, NULL as null, JSON and arrays as such, bytes as base64. Its errors quote no row.
    :param sql_conn_id: the connection of the database, of any type whose hook is a ``DbApiHook``.
    :param parameters: values for the placeholders of ``sql``, in the driver's own style.
    :param output_path: the request file, replaced as a whole.
    :param messages: chat messages, e.g. ``[{"role": "user", "content": "Sentiment of: {{ row.text }}"}]``; or
    :param prompt: one text, sent as the user's message or embedded.
    :param body: further fields of each request's body, e.g. ``{"temperature": 0, "max_tokens": 50}``.
    :param custom_id: the row's id, e.g. ``"review-{{ row.id }}"``; by default ``row-`` and its line in the source; give
        one with ``sql``, whose rows come in any order.
    :param model: written into each request; leave it out to take the connection's.
    :param endpoint: e.g. ``/v1/chat/completions``, ``/v1/responses``, ``/v1/embeddings``.
    :param json_schema: a JSON schema that every answer must follow; its ``title`` becomes its name.
    :param strict: whether the provider must enforce the schema to the letter; of ``json_schema`` alone.
    :param limit: the number of rows to take, from the first.
    :param source_format: ``"csv"`` or ``"jsonl"``, for a name without such an ending.
    :param delimiter: of CSV; by default a comma, and a tab for ``.tsv``.
    :param download_images: fetch ``http`` and ``https`` images now and write them into the requests, for Bedrock and
        Vertex AI, whose batches fetch none; an image that cannot be fetched is a problem of its row. True, or a mapping
        of ``max_image_bytes``, ``max_line_bytes``, ``timeout``, ``attempts``, ``pause``, ``at_once`` and
        ``private_hosts``; see ``docs/download_images.md``. Fetched images are kept in ``OUTPUT_PATH.images``.
    :param allow_local_path: allow a local ``output_path`` although tasks may run on several machines.
    """

    template_fields: Sequence[str] = ("source", "sql", "sql_conn_id", "parameters", "output_path", "model", "limit")
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "parameters": "json"}
    ui_color = "#e6f2d5"

    def __init__(
        self,
        *,
        output_path: str,
        source: str | None = None,
        sql: str | None = None,
        sql_conn_id: str | None = None,
        parameters: Parameters | None = None,
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
        download_images: bool | Mapping[str, Any] = False,
        allow_local_path: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.sql = sql
        self.sql_conn_id = sql_conn_id
        self.parameters = parameters
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
        # A template that renders to nothing must not look like a limit that was never set.
        self._limited = limit is not None
        self.source_format = source_format
        self.delimiter = delimiter
        self.download_images = download_images
        self.allow_local_path = allow_local_path
        self._check_origin()
        image_policy(download_images)
        # Compiled now to be thrown away: a template that cannot work is an import error of the DAG, not a failed run.
        self._template()

    def execute(self, context: Context) -> str:
        """Write the request file."""
        with airflow_errors():
            rows = self._write()
        self.log.info("%s written to %s", counted(rows, "request"), self.output_path)
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

    def _check_origin(self) -> None:
        if (self.source is None) == (self.sql is None):
            raise ConfigurationError("Give either source or sql")
        if self.sql is not None and self.sql_conn_id is None:
            raise ConfigurationError("sql_conn_id is missing; set it to the connection of the database that sql reads")
        of_sql = self.sql_conn_id is not None or self.parameters is not None
        if self.sql is None and of_sql:
            raise ConfigurationError("sql_conn_id and parameters go with sql, not with source")
        if self.sql is not None and (self.source_format or self.delimiter):
            raise ConfigurationError("source_format and delimiter go with source, not with sql")

    def _write(self) -> int:
        from airflow_batch_provider.run.storage import RunDirectory, open_path

        template, limit = self._template(), self._limit()
        target = open_path(self.output_path)
        if self.source is not None and str(target) == str(open_path(self.source)):
            raise ConfigurationError(f"output_path and source are the same file, {self.source}; change output_path")
        directory = checked_directory(str(target.parent), allow_local_path=self.allow_local_path)
        name = self._name()
        count = 0
        with self._rows(name) as rows, directory.writer(target.name) as out:
            seen = _Seen(rows)
            lines: Iterable[bytes] = prepare(seen, template, name, limit, show_values=self.sql is None)
            if (policy := image_policy(self.download_images)) is not None:
                from airflow_batch_provider.images.inline import FOLDER, Inliner

                store = RunDirectory(f"{directory.uri}/{target.name}{FOLDER}")
                lines = Inliner(store, policy, name, show_values=self.sql is None).lines(
                    (seen.number, line) for line in lines
                )
            for line in lines:
                out.write(line + b"\n")
                count += 1
        return count

    def _name(self) -> str:
        """How messages call the rows; their "line" is the row's number in the result of a SELECT."""
        return f"The SELECT on {self.sql_conn_id!r}" if self.source is None else self.source

    @contextmanager
    def _rows(self, name: str) -> Iterator[Iterable[NumberedRow]]:
        from airflow_batch_provider.core.rows import format_of, read_rows
        from airflow_batch_provider.operators.sql import select_rows, sql_hook

        if self.source is None:
            hook = sql_hook(str(self.sql_conn_id))
            with closing(select_rows(hook, str(self.sql), self.parameters, name)) as selected:
                yield selected
            return
        source_format, delimiter = (self.source_format, ",") if self.source_format else format_of(self.source)
        with self._opened(self.source) as stream:
            yield read_rows(stream, self.source, source_format, self.delimiter or delimiter)

    @staticmethod
    def _opened(source: str) -> BinaryIO:
        from airflow_batch_provider.run.storage import open_stream

        try:
            return open_stream(source)
        except FileNotFoundError as error:
            raise InputError(source, [Problem(None, "", "there is no such file")]) from error
        except (IsADirectoryError, NotADirectoryError, PermissionError) as error:
            raise InputError(source, [Problem(None, "", f"cannot be read: {error}")]) from error

    def _limit(self) -> int | None:
        return read_whole_guard("limit", self.limit, "rows") if self._limited else None
