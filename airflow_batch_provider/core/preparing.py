"""From rows to requests: templates are compiled once and rendered for every row.

A template sees one name, ``row``. It is sandboxed and strict: what a row does not have is an error that names the row,
never an empty place in a prompt that is then paid for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

import orjson
from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, UndefinedError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from airflow_batch_provider.core.errors import ConfigurationError, InputError, Problem
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.core.rows import NumberedRow, Row
from airflow_batch_provider.core.validation import KEPT_PROBLEMS, normal_endpoint

Messages: TypeAlias = "Sequence[Mapping[str, Any]]"
_Render: TypeAlias = Callable[[Row], str]

_PROMPT_FIELDS = {
    "/v1/chat/completions": "messages",
    "/v1/responses": "input",
    "/v1/completions": "prompt",
    "/v1/embeddings": "input",
    "/v1/moderations": "input",
}
_MESSAGES_FIELDS = {"/v1/chat/completions": "messages", "/v1/responses": "input"}
_IN_TEMPLATES = (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What an expression of the author can raise."""


class _RowError(Exception):
    """A template could not be rendered for one row.

    :param bare: the same without anything that may be of the row.
    """

    def __init__(self, field: str, message: str, bare: str) -> None:
        super().__init__(message)
        self.field = field
        self.bare = bare


class _NoColumnError(UndefinedError):
    """A template names a column that the row does not have."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def _text(value: Any) -> Any:
    """How a value is written in a prompt: text as it is, null as nothing, everything else as JSON.

    Jinja would write Python (``None``, ``True``, ``{'a': 1}``).
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, (bool, dict, list, tuple)):
        return _to_json(value)
    if isinstance(value, Decimal):
        return f"{value:f}"  # never 1E-7
    if callable(value) and not isinstance(value, StrictUndefined):
        raise TypeError("a method is not a value; call it, or write row['name'] for a column of that name")
    return value


def _to_json(value: Any) -> str:
    # Jinja's own tojson escapes for HTML, which a model should not have to read.
    return orjson.dumps(value, default=_exactly).decode()


def _exactly(value: Any) -> orjson.Fragment:
    """A number that is exact in a database, and stays so in JSON."""
    if not isinstance(value, Decimal):
        raise TypeError(f"a {type(value).__name__} is not a JSON value")
    return orjson.Fragment(f"{value:f}" if value.is_finite() else "null")


class _Environment(ImmutableSandboxedEnvironment):
    """``row.name`` is the column of that name, also where a dict has a method of that name (``items``, ``title``)."""

    def __init__(self) -> None:
        super().__init__(autoescape=False, undefined=StrictUndefined, keep_trailing_newline=True, finalize=_text)
        self.filters["tojson"] = _to_json

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        if isinstance(obj, Row) and not hasattr(obj, attribute):
            return self._no_column(obj, attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Row) and argument not in obj:
            return self._no_column(obj, argument)
        return super().getitem(obj, argument)

    def _no_column(self, row: Row, name: Any) -> StrictUndefined:
        hint = f"column {name!r} does not exist; the columns are {', '.join(map(repr, row))}"
        return StrictUndefined(hint, row, name, partial(_NoColumnError, str(name)))  # type: ignore[arg-type]


_ENVIRONMENT = _Environment()
_GLOBALS = dict(_ENVIRONMENT.globals)


def _compile_text(source: str, field: str) -> str | _Render:
    if "{" not in source:
        return source
    try:
        unknown = meta.find_undeclared_variables(_ENVIRONMENT.parse(source)) - _GLOBALS.keys() - {"row"}
        template = _ENVIRONMENT.from_string(source)
    except TemplateSyntaxError as error:
        raise ConfigurationError(f"{field}: not a Jinja template: {error.message} in {source!r}") from error
    if unknown:
        raise ConfigurationError(
            f"{field}: {', '.join(sorted(unknown))} is unknown in {source!r}; the template is rendered once per "
            f"row, not "
            "by Airflow, and only row is available in it"
        )

    def render(row: Row) -> str:
        try:
            # As template.render does, without copying Jinja's chain of globals for each row (twice as fast).
            context = template.new_context({**_GLOBALS, "row": row}, shared=True)
            return "".join(template.root_render_func(context))
        except UndefinedError as error:
            # A name may have been computed from a row; one that the template itself holds gives nothing away.
            safe = isinstance(error, _NoColumnError) and error.name in source
            bare = str(error.message) if safe else "it uses a value that does not exist"
            raise _RowError(field, str(error.message), bare) from None
        except _IN_TEMPLATES as error:
            raise _RowError(field, f"{type(error).__name__}: {error}", type(error).__name__) from None

    return render


def _compile(value: Any, field: str) -> Any:
    """The value itself when it holds no template, else the function that makes it for a row."""
    if isinstance(value, str):
        return _compile_text(value, field)
    if isinstance(value, Mapping):
        parts = {key: _compile(item, f"{field}.{key}" if field else str(key)) for key, item in value.items()}
        if not any(map(callable, parts.values())):
            return value
        return lambda row: {key: part(row) if callable(part) else part for key, part in parts.items()}
    if isinstance(value, (list, tuple)):
        items = [_compile(item, f"{field}[{index}]") for index, item in enumerate(value)]
        if not any(map(callable, items)):
            return value
        return lambda row: [item(row) if callable(item) else item for item in items]
    return value


def _prompt_part(endpoint: str, messages: Messages | None, prompt: str | None) -> dict[str, Any]:
    if messages is not None and prompt is not None:
        raise ConfigurationError("Pass messages or prompt, not both")
    if messages is not None:
        if endpoint not in _MESSAGES_FIELDS:
            raise ConfigurationError(
                f"messages is not supported for {endpoint}; pass prompt, or the field itself in body"
            )
        if not isinstance(messages, (list, tuple)) or not messages:
            raise ConfigurationError('messages must be a list of {"role": ..., "content": ...}')
        return {_MESSAGES_FIELDS[endpoint]: _compile(messages, "messages")}
    if prompt is None:
        return {}
    if endpoint not in _PROMPT_FIELDS:
        raise ConfigurationError(f"prompt is not supported for {endpoint}; pass body")
    name, text = _PROMPT_FIELDS[endpoint], _compile_text(prompt, "prompt")
    if name != "messages":
        return {name: text}
    return {name: lambda row: [{"role": "user", "content": text(row) if callable(text) else text}]}


def _schema_part(endpoint: str, schema: Mapping[str, Any] | None, strict: bool) -> dict[str, Any]:
    if schema is None:
        if not strict:
            raise ConfigurationError("strict=False is of a json_schema, and none is passed; pass one, or omit strict")
        return {}
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", str(schema.get("title", "")))[:64] or "answer"
    if strict:
        _check_strict(schema, "json_schema")
    inner = {"name": name, "strict": strict, "schema": dict(schema)}
    if endpoint == "/v1/chat/completions":
        return {"response_format": {"type": "json_schema", "json_schema": inner}}
    if endpoint == "/v1/responses":
        return {"text": {"format": {"type": "json_schema", **inner}}}
    raise ConfigurationError(f"json_schema is not supported for {endpoint}; use /v1/chat/completions or /v1/responses")


def _check_strict(schema: Any, where: str) -> None:
    """OpenAI refuses each row of a strict schema that leaves anything open; better now than row by row."""
    if isinstance(schema, Mapping):
        properties = schema.get("properties")
        if isinstance(properties, Mapping):
            optional = sorted(properties.keys() - set(schema.get("required", ())))
            if optional or schema.get("additionalProperties") is not False:
                missing = f"requires {', '.join(optional)}" if optional else 'has "additionalProperties": false'
                raise ConfigurationError(
                    f"{where}: a strict schema {missing}; every object must require all its properties and allow no "
                    "other. Add that, or pass strict=False"
                )
        for key, value in schema.items():
            _check_strict(value, f"{where}.{key}")
    elif isinstance(schema, (list, tuple)):
        for index, value in enumerate(schema):
            _check_strict(value, f"{where}[{index}]")


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """What a row becomes; make it with :meth:`compile`."""

    endpoint: str
    _body: Mapping[str, Any]
    _custom_id: str | _Render | None

    @classmethod
    def compile(
        cls,
        *,
        endpoint: str = "/v1/chat/completions",
        messages: Messages | None = None,
        prompt: str | None = None,
        body: Mapping[str, Any] | None = None,
        custom_id: str | None = None,
        model: str | None = None,
        json_schema: Mapping[str, Any] | None = None,
        strict: bool = True,
    ) -> RequestTemplate:
        """Compile every template once.

        :param messages: chat messages; every string in them is a template.
        :param prompt: the one user message, or ``input``, or ``prompt``, as the endpoint has it; a template.
        :param body: further fields of the body; strings in them are templates.
        :param custom_id: template of the row's id; None for ``row-`` and the line number.
        :param json_schema: schema that answers must follow; taken as it is.
        :param strict: whether the provider must enforce the schema to the letter.
        :raises ConfigurationError: when a template cannot be compiled or arguments exclude each other.
        """
        _check_plain(messages, prompt, body, custom_id, json_schema)
        endpoint = normal_endpoint(endpoint)
        parts = {"model": model} if model else {}
        parts |= _prompt_part(endpoint, messages, prompt)
        if not body and len(parts) == bool(model):
            raise ConfigurationError("Pass messages, prompt or body: the request would be empty")
        parts |= _schema_part(endpoint, json_schema, strict)
        for name in parts.keys() & (body or {}).keys():
            raise ConfigurationError(f"body.{name} is set by another argument too; pass it once")
        parts |= {name: _compile(value, f"body.{name}") for name, value in (body or {}).items()}
        return cls(endpoint, parts, None if custom_id is None else _compile_text(custom_id, "custom_id"))

    def render(self, line: int, row: Row) -> JSON:
        """The request of one row."""
        body = {name: part(row) if callable(part) else part for name, part in self._body.items()}
        return {"custom_id": self._id(line, row), "method": "POST", "url": self.endpoint, "body": body}

    def _id(self, line: int, row: Row) -> str:
        if self._custom_id is None:
            return f"row-{line:08d}"
        return self._custom_id(row) if callable(self._custom_id) else self._custom_id


def _check_plain(*values: Any) -> None:
    try:
        orjson.dumps(values)
    except TypeError as error:
        raise ConfigurationError(
            f"messages, prompt, body, custom_id and json_schema must be plain JSON (objects, lists, text): {error}"
        ) from error


def prepare(
    rows: Iterable[NumberedRow],
    template: RequestTemplate,
    path: str,
    limit: int | None = None,
    *,
    show_values: bool = True,
) -> Iterator[bytes]:
    """One request line, without its end, for every row in order.

    :param path: how the error calls the rows' file.
    :param limit: take only so many rows.
    :param show_values: whether an error may quote the rows.
    :raises InputError: after the last row, with every problem; what was given out before must then be thrown away.
    """
    problems: list[Problem] = []
    count = number = 0
    seen: dict[str, int] = {}
    for number, row in islice(rows, limit):
        line = row if isinstance(row, Problem) else _line(number, row, template, seen, show_values)
        if isinstance(line, bytes):
            yield line
            continue
        count += 1
        if len(problems) < KEPT_PROBLEMS:
            problems.append(line)
    if number == 0:
        problems, count = [Problem(None, "", "the input has no rows")], 1
    if count:
        raise InputError(path, problems, count)


def _line(number: int, row: Row, template: RequestTemplate, seen: dict[str, int], show_values: bool) -> bytes | Problem:
    try:
        request = template.render(number, row)
        line = orjson.dumps(request)
    except _RowError as error:
        return Problem(number, error.field, str(error) if show_values else error.bare)
    except TypeError as error:
        return Problem(number, "", f"cannot be written as JSON ({error})")
    custom_id = request["custom_id"]
    if not custom_id.strip():
        return Problem(number, "custom_id", "empty; every row needs its own id")
    first = seen.setdefault(custom_id, number)
    if first != number:
        shown = repr(custom_id) if show_values else "it"
        return Problem(number, "custom_id", f"{shown} is already the id of line {first}; ids must be unique")
    return line
