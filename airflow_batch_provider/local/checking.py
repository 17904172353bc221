"""The validation of a batch's input file, as strict as OpenAI's, in one streaming pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.local.engines.base import EMBEDDINGS, MODERATIONS
from airflow_batch_provider.local.objects import problem
from airflow_batch_provider.local.policy import Policy


@dataclass(slots=True)
class Checked:
    """What the pass found.

    :param total: requests in the file.
    :param problems: what is wrong, in line order; the batch fails when there is any.
    """

    total: int = 0
    model: str | None = None
    problems: list[JSON] = field(default_factory=list)


def check_file(path: Path, endpoint: str, policy: Policy) -> Checked:
    """Check every line of a batch's file.

    :param endpoint: the batch's own endpoint, as it was given.
    """
    size = path.stat().st_size
    if size > policy.max_batch_bytes:
        message = f"The input file is {size} bytes; a batch may have at most {policy.max_batch_bytes}."
        return Checked(problems=[problem("file_too_large", message)])
    check = _Check(endpoint, policy)
    with path.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            check.line(number, raw)
            if len(check.found.problems) >= policy.max_problems:
                break
            if check.found.total > policy.max_rows:
                message = f"The input file has more than {policy.max_rows} requests."
                check.found.problems.insert(0, problem("too_many_tasks", message))
                break
    if not check.found.total and not check.found.problems:
        message = "The input file is empty. Please ensure that the batch contains at least one request."
        check.found.problems.append(problem("empty_file", message))
    return check.found


class _Check:
    """One pass over one file."""

    def __init__(self, endpoint: str, policy: Policy) -> None:
        self.found = Checked()
        self._endpoint = endpoint
        self._canonical: str | None = policy.canonical(endpoint)
        self._policy = policy
        self._ids: dict[str, int] = {}
        self._inputs = 0

    def line(self, number: int, raw: bytes) -> None:
        """Check one line; a line is named once, with what is wrong first."""
        self.found.total += 1
        for code, message, param in self._wrongs(number, raw):
            self.found.problems.append(problem(code, message, line=number, param=param))
            return

    def _wrongs(self, number: int, raw: bytes) -> Iterator[tuple[str, str, str | None]]:
        request = parse_line(raw)
        if request is None:
            yield "invalid_json_line", "This line is not parseable as a valid JSON object.", None
            return
        yield from self._custom_id(number, request.get("custom_id"))
        for name in ("method", "url", "body"):
            if request.get(name) is None:
                yield "missing_required_parameter", f"Missing required parameter: {name!r}.", name
        if request["method"] != "POST":
            yield "invalid_method", f"Invalid method {request['method']!r}; only 'POST' is allowed.", "method"
        yield from self._url(request["url"])
        if not isinstance(request["body"], dict):
            yield "invalid_type", "Invalid type for 'body': expected an object.", "body"
        yield from self._body(request["body"])

    def _custom_id(self, number: int, custom_id: Any) -> Iterator[tuple[str, str, str | None]]:
        if custom_id is None or custom_id == "":
            yield "missing_required_parameter", "Missing required parameter: 'custom_id'.", "custom_id"
        if not isinstance(custom_id, str):
            yield "invalid_type", "Invalid type for 'custom_id': expected a string.", "custom_id"
        first = self._ids.setdefault(custom_id, number)
        if first != number:
            message = f"The custom_id {custom_id!r} was already used on line {first}."
            yield "duplicate_custom_id", message, "custom_id"

    def _url(self, url: Any) -> Iterator[tuple[str, str, str | None]]:
        canonical = self._policy.canonical(url) if isinstance(url, str) else None
        if canonical not in self._policy.endpoints:
            yield "invalid_url", f"Invalid url {url!r}; allowed are {sorted(self._policy.endpoints)}.", "url"
        if self._policy.endpoint_from_lines and self.found.total == 1:
            self._canonical = canonical
        if canonical != self._canonical:
            message = f"The url {url!r} does not match the batch's endpoint {self._endpoint!r}."
            yield "url_mismatch", message, "url"

    def _body(self, body: JSON) -> Iterator[tuple[str, str, str | None]]:
        model = body.get("model")
        if model is None and self._canonical == MODERATIONS:
            return
        if not isinstance(model, str) or not model:
            yield "missing_required_parameter", "Missing required parameter: 'body.model'.", "body.model"
        if self._policy.models is not None and model not in self._policy.models:
            yield "model_not_found", f"The provided model {model!r} is not supported by the Batch API.", "body.model"
        if self.found.model is None:
            self.found.model = model
        if model != self.found.model:
            message = f"The model {model!r} differs from the file's first, {self.found.model!r}; one model per batch."
            yield "mismatched_model", message, "body.model"
        if self._canonical == EMBEDDINGS:
            given = body.get("input")
            texts = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
            self._inputs += len(texts)  # a list of numbers is one text in tokens
            if self._inputs > self._policy.max_embedding_inputs:
                message = f"The batch has more than {self._policy.max_embedding_inputs} embedding inputs."
                yield "too_many_embedding_inputs", message, "body.input"


def parse_line(raw: bytes) -> JSON | None:
    """One line of an input file, None when it is not a JSON object."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def read_requests(path: Path) -> Iterator[JSON]:
    """The requests of a file that was found good."""
    with path.open("rb") as stream:
        for raw in stream:
            yield orjson.loads(raw)
