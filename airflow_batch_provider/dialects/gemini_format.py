"""Lines for Gemini batches, kept apart where the importer could not read them from one file.

The importer makes one table of a whole file, see :mod:`airflow_batch_provider.dialects.columns`. Lines of plain text
all make the same one; only what the author shapes himself (schemas, tools, arguments and results of calls) is looked
into, and two lines that contradict each other go into different files.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON, BatchRequest
from airflow_batch_provider.dialects.base import token
from airflow_batch_provider.dialects.columns import MAX_COLUMNS, Columns, NotImportableError, columns
from airflow_batch_provider.dialects.envelopes import Envelope
from airflow_batch_provider.dialects.gemini import GeminiDialect
from airflow_batch_provider.dialects.gemini_config import snake
from airflow_batch_provider.dialects.translated import TranslatedFormat

MOST_VARIANTS = 50
"""Each is a job of its own; more would rather be a mistake than a wish."""


@dataclass(slots=True)
class _Table:
    """The columns of one file.

    :param schema: the response schema of its lines.
    """

    schema: bytes
    columns: Columns = field(default_factory=dict)

    def takes(self, schema: bytes, found: Columns) -> bool:
        """Take the line in if no column of it contradicts; Google's importer also dislikes two response schemas in one
        file (seen live by OpenRouter)."""
        if schema != self.schema:
            return False
        known = self.columns
        for column, kind in found.items():
            if known.get(column, kind) != kind:
                return False
        if len(known.keys() | found.keys()) > MAX_COLUMNS:
            return False
        known.update(found)
        return True


class GeminiFormat(TranslatedFormat):
    """Gemini's lines.

    :param dialect: says whether a request needs looking into.
    """

    def __init__(self, dialect: GeminiDialect, envelope: Envelope) -> None:
        super().__init__(dialect, envelope)
        self._gemini = dialect
        self._tables = [_Table(b"")]
        self._asked: BatchRequest | None = None
        self._made: JSON = {}
        self._columns: Columns | None = None

    def encode(self, request: BatchRequest, position: int) -> bytes:
        """The wire line; see :class:`~airflow_batch_provider.dialects.base.LineFormat`."""
        self._translate(request)
        return orjson.dumps(self.envelope.wrap(token(position), self._made))

    def variant(self, request: BatchRequest) -> int:
        """The first file that takes the line; 0 is the file of plain text."""
        self._translate(request)
        if self._columns is None:
            return 0
        schema = self._made.get("generationConfig", {}).get("responseJsonSchema")
        wanted = orjson.dumps(schema, option=orjson.OPT_SORT_KEYS) if schema else b""
        for number, table in enumerate(self._tables):
            if table.takes(wanted, self._columns):
                return number
        if len(self._tables) >= MOST_VARIANTS:
            raise UntranslatableError("body", _too_many(self._tables, wanted, self._columns))
        self._tables.append(_Table(wanted, dict(self._columns)))
        return len(self._tables) - 1

    def _translate(self, request: BatchRequest) -> None:
        """Encoding and sorting a line ask for the same translation, one after the other."""
        if request is self._asked:
            return
        self._asked = None
        made = self._gemini.request(request.body)
        found: Columns | None = None
        if self._gemini.free:
            try:
                found = columns({"request": made})
            except NotImportableError as error:
                raise UntranslatableError(_field(error.path), _refusal(error)) from error
        self._asked, self._made, self._columns = request, made, found


def _refusal(error: NotImportableError) -> str:
    return f"Vertex AI could not import the file with {error.path}: {error.reason}"


def _field(path: str) -> str:
    """Where the author wrote what stands at a path of the wire line."""
    schema = path.partition(".responseJsonSchema")
    if schema[1]:
        return f"body.response_format.json_schema.schema{schema[2]}"
    function, _, rest = path.removeprefix("request.tools[0].functionDeclarations").partition(".parametersJsonSchema")
    if function != path:
        return f"body.tools{function}.function.parameters{rest}"
    own = path.removeprefix("request.")
    if own.startswith("labels"):
        return f"body.{own}"
    if own.startswith("tools"):
        return "body.tools"
    if own.startswith("generationConfig."):
        return f"body.{snake(own.split('.')[1])}"
    return "body.messages"


def _too_many(tables: list[_Table], schema: bytes, found: Columns) -> str:
    message = f"the file holds lines of more than {MOST_VARIANTS} kinds that Vertex AI can import only apart"
    if all(table.schema != schema for table in tables):
        return f"{message}: this one has another response schema; make several runs of it"
    for table in tables:
        for column, kind in found.items():
            if table.schema == schema and table.columns.get(column, kind) != kind:
                return f"{message}: {column} is {kind!r} here, {table.columns[column]!r} before; write one type or text"
    return f"{message}: their columns are more than {MAX_COLUMNS:,}"
