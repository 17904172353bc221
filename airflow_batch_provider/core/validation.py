"""One pass over the whole file: every line becomes a request or a list of problems, each with its line number.

Nothing here knows a provider; what a backend accepts comes in as :class:`~airflow_batch_provider.core.records.Limits`
and, for what its body format does not support, as an error of its encoder.
"""

from __future__ import annotations

import functools
import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import orjson

from airflow_batch_provider.core.encoding import not_text, not_utf8
from airflow_batch_provider.core.errors import InputError, Problem, UntranslatableError
from airflow_batch_provider.core.estimating import Estimate, estimate
from airflow_batch_provider.core.identity import Fingerprint
from airflow_batch_provider.core.records import BatchRequest, Limits, ModelRules
from airflow_batch_provider.core.sizes import counted_lines, likely_too_long, too_large


class Encoder(Protocol):
    """What makes the wire lines of one model and endpoint; see ``dialects.base.LineFormat``."""

    @property
    def notes(self) -> Mapping[str, str]:
        """Fields that were left out, with the reason."""

    def encode(self, request: BatchRequest, position: int) -> bytes:
        """The wire line."""

    def variant(self, request: BatchRequest) -> int:
        """Which file the row may be in."""


KEPT_PROBLEMS = 1000
TOO_DEEP = "nested more than 250 levels deep; flatten it"
WIRE_FIELDS = frozenset({"custom_id", "method", "url", "body"})
"""What a line holds as OpenAI takes it."""
_KNOWN_FIELDS = frozenset({*WIRE_FIELDS, "error"})
"""``error`` is what ``failed.jsonl`` adds to a request; it is dropped, so that the file can be run as it is."""
_NEEDED: dict[str, tuple[str, ...]] = {
    "/v1/chat/completions": ("messages",),
    "/v1/responses": ("input", "prompt"),
    "/v1/embeddings": ("input",),
    "/v1/moderations": ("input",),
    "/v1/completions": ("prompt",),
}
_WARN_ID_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Rules:
    """What a line is read against.

    :param models: where a model comes from.
    :param endpoint: the operator's, which wins over the line's ``url``; None to take the line's.
    :param limits: what the backend accepts.
    """

    models: ModelRules
    limits: Limits
    endpoint: str | None = None


@dataclass(slots=True)
class Group:
    """The requests that share one resolved model and endpoint, and may share a file, in file order."""

    model: str | None
    endpoint: str
    variant: int = 0
    sizes: array[int] = field(default_factory=lambda: array("L"))
    """Bytes of each row's wire lines, ends of line included."""
    lines: array[int] = field(default_factory=lambda: array("L"))
    """Wire lines, or texts to embed, of each row, which the provider counts; empty where each row is one."""
    tokens: array[int] = field(default_factory=lambda: array("L"))
    """Likely input tokens of each row, as they count in the provider's queue."""
    most: array[int] = field(default_factory=lambda: array("L"))
    """The most input tokens of each row, sound left out."""
    sound: array[int] = field(default_factory=lambda: array("L"))
    """The most input tokens of each row's sound."""
    media: array[int] = field(default_factory=lambda: array("B"))
    """1 for each row that may be answered with sound or images."""
    unsized: array[int] = field(default_factory=lambda: array("B"))
    """1 for each row whose input has no bound."""
    caps: array[int] = field(default_factory=lambda: array("l"))
    """The most output tokens of each row, -1 where it names no bound."""
    rewritten: bool = False
    """Whether any wire line differs from the author's."""

    def add(self, wire: bytes, lines: int) -> None:
        """Note the size of a row.

        :param wire: its wire line, or lines with line feeds between them.
        :param lines: how many the provider counts.
        """
        if lines != 1 and not self.lines:
            self.lines.extend([1] * len(self.sizes))
        if lines != 1 or self.lines:
            self.lines.append(lines)
        self.sizes.append(len(wire) + 1)

    @property
    def total_lines(self) -> int:
        """Wire lines of all rows."""
        return sum(self.lines) if self.lines else len(self.sizes)

    def expect(self, found: Estimate) -> None:
        """Note what a row may become."""
        self.tokens.append(found.likely)
        self.most.append(found.most)
        self.sound.append(found.sound)
        self.media.append(found.media)
        self.unsized.append(found.unsized is not None)
        self.caps.append(-1 if found.output is None else found.output)


@dataclass(slots=True)
class Report:
    """What one pass saw.

    :param path: the file.
    :param rows: valid requests.
    :param problems: the first problems, in line order; ``problem_count`` counts them all.
    :param warnings: what is odd and not wrong.
    """

    path: str
    rows: int = 0
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    warnings: list[str] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    fingerprint: str = ""
    digest: str = ""
    """Of the bytes of all lines, so that a second reading can prove that it read the same."""
    uncapped: int | None = None
    """Line of the first request that names no bound for its output."""
    unsized: str | None = None
    """The first line whose input has no bound, and why."""

    def raise_for_problems(self) -> None:
        """Raise :class:`InputError` with every kept problem, if there is any."""
        if self.problem_count:
            raise InputError(self.path, self.problems, self.problem_count)


@functools.lru_cache(maxsize=64)
def normal_endpoint(url: str) -> str:
    """OpenAI's spelling of an endpoint: Azure's lines omit ``/v1``."""
    path = "/" + url.strip("/")
    return path if path.startswith("/v1/") else "/v1" + path


def parse_line(number: int, raw: bytes, rules: Rules) -> BatchRequest | list[Problem]:
    """One line as a request, or everything that is wrong with it."""
    line = _load(number, raw)
    if isinstance(line, Problem):
        return [line]
    if wrong := _wrong(line, rules):
        return [Problem(number, where, message) for where, message in wrong]
    body: dict[str, Any] = line["body"]
    return BatchRequest(
        custom_id=line["custom_id"],
        endpoint=normal_endpoint(rules.endpoint or line["url"]),
        model=rules.models.resolve(body.get("model")),
        body=body,
        raw=raw,
        line=number,
        url=line["url"] if line.keys() == WIRE_FIELDS else None,
    )


def _load(number: int, raw: bytes) -> dict[str, Any] | Problem:
    text = raw.strip()
    if not text:
        return Problem(number, "", "the line is blank; delete it, every line must be one request")
    if text.startswith((b"#", b"//")):
        return Problem(number, "", "JSON Lines allow no comments; delete the line")
    try:
        line = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if spoilt := not_utf8(raw):
            return Problem(number, "", spoilt)
        if "depth limit" in str(error):
            return Problem(number, "", TOO_DEEP)
        hint = "; the file looks like one JSON array; write one object per line" if text == b"[" else ""
        return Problem(number, "", f"not JSON ({error}){hint}")
    if isinstance(line, list):
        return Problem(number, "", "a JSON array; write one JSON object per line")
    if not isinstance(line, dict):
        return Problem(number, "", f"a JSON {type(line).__name__}; every line must be a JSON object")
    return line


_Wrong: TypeAlias = "list[tuple[str, str]]"
"""Fields, each with what is wrong with it. A list and no generators, which would be several for each row."""


def _wrong(line: dict[str, Any], rules: Rules) -> _Wrong:
    found: _Wrong = []
    custom_id = line.get("custom_id")
    if custom_id is None:
        found.append(("custom_id", 'missing; give every line its own id, e.g. "row-1"'))
    elif not isinstance(custom_id, str):
        found.append(("custom_id", f"must be a string, not {custom_id!r}"))
    elif not custom_id.strip():
        found.append(("custom_id", "empty; give every line its own id"))
    if line.get("method", "POST") != "POST":
        found.append(("method", f'{line["method"]!r} is not supported; use "POST" or remove the field'))
    if not line.keys() <= _KNOWN_FIELDS:
        strange = line.keys() - _KNOWN_FIELDS
        found += [(name, "unknown field; model parameters belong in body") for name in strange]
    endpoint = _endpoint(line.get("url"), rules, found)
    _check_body(line.get("body"), endpoint, rules, found)
    return found


def _endpoint(url: Any, rules: Rules, found: _Wrong) -> str | None:
    wanted = rules.endpoint or url
    if wanted is None:
        found.append(("url", 'missing; write "/v1/chat/completions" here or give endpoint= to the operator'))
        return None
    known = rules.limits.endpoints
    if not isinstance(wanted, str) or (endpoint := normal_endpoint(wanted)) not in known:
        what = f"{wanted!r} is not an endpoint of this connection; it supports {', '.join(known)}"
        found.append(("url", what))
        return None
    return endpoint


_NO_MODEL = "missing; write it here, give model= to the operator, or set the connection's default model"


def _check_body(body: Any, endpoint: str | None, rules: Rules, found: _Wrong) -> None:
    if not isinstance(body, dict):
        found.append(("body", "missing" if body is None else f"must be an object, not {type(body).__name__}"))
        return
    model = body.get("model")
    if model is not None and not isinstance(model, str):
        found.append(("body.model", f"must be a string, not {model!r}"))
    elif rules.limits.model_required and not rules.models.resolve(model):
        found.append(("body.model", _NO_MODEL))
    if body.get("stream"):
        found.append(("body.stream", "a batch cannot stream; remove the field"))
    needed = _NEEDED.get(endpoint or "", ())
    if needed and not any(map(body.get, needed)):
        found.append((f"body.{needed[0]}", f"missing or empty; {endpoint} requires it"))
    messages = body.get("messages")
    if endpoint == "/v1/chat/completions" and messages:
        if not isinstance(messages, list):
            found.append(("body.messages", "must be an array of messages"))
            return
        for index, message in enumerate(messages):
            if not isinstance(message, dict) or not isinstance(message.get("role"), str):
                found.append((f"body.messages[{index}]", 'must be an object with a "role"'))


def read_requests(lines: Iterable[tuple[int, bytes]], path: str, rules: Rules) -> Iterator[BatchRequest]:
    """The requests of a file that was found valid before.

    :raises InputError: at the first line that is not valid after all.
    """
    for number, raw in lines:
        parsed = parse_line(number, raw, rules)
        if isinstance(parsed, list):
            raise InputError(path, parsed)
        yield parsed


def validate(
    lines: Iterable[tuple[int, bytes]], path: str, rules: Rules, encoder: Callable[[str | None, str], Encoder]
) -> Report:
    """Read the whole file once.

    :param lines: ``(line number, bytes without end of line)``.
    :param path: how messages call the file.
    :param rules: models, limits and endpoint.
    :param encoder: gives, for a model and an endpoint, what makes a request's wire line.
    """
    content = Content()
    reading = _Reading(Report(path), rules, encoder)
    report = reading.report
    number = 0
    for number, raw in content.of(lines):
        if number == 1 and (foreign := not_text(raw)):
            _note(report, [Problem(None, "", foreign)])
            return report
        if problems := reading.take(number, raw):
            _note(report, problems)
    if number == 0:
        _note(report, [Problem(None, "", "the file is empty; it must hold at least one request")])
    reading.close()
    report.digest = content.hexdigest()
    return report


class _Reading:
    """What the lines read so far came to."""

    def __init__(self, report: Report, rules: Rules, encoder: Callable[[str | None, str], Encoder]) -> None:
        self.report = report
        self._rules = rules
        self._encoder = encoder
        self._encoders: dict[tuple[str | None, str], Encoder] = {}
        self._groups: dict[tuple[str | None, str, int], Group] = {}
        self._seen: dict[str, int] = {}
        self._fingerprint = Fingerprint()
        self._long = False

    def take(self, number: int, raw: bytes) -> list[Problem]:
        """Take one line in; what is wrong with it."""
        parsed = parse_line(number, raw, self._rules)
        if isinstance(parsed, list):
            return parsed
        first = self._seen.setdefault(parsed.custom_id, number)
        if first != number:
            message = f"{parsed.custom_id!r} is already used on line {first}; ids must be unique in the file"
            return [Problem(number, "custom_id", message)]
        try:
            return self._add(number, parsed)
        except UntranslatableError as error:
            return [Problem(number, error.field, error.message)]
        except (TypeError, RecursionError) as error:
            # orjson reads 1,024 levels and writes 254, and says so by a bare TypeError.
            if "recursion" not in str(error).lower():
                raise
            return [Problem(number, "body", TOO_DEEP)]

    def _add(self, number: int, request: BatchRequest) -> list[Problem]:
        key = (request.model, request.endpoint)
        if key not in self._encoders:
            self._encoders[key] = self._encoder(*key)
        variant = self._encoders[key].variant(request)
        # The position changes no length, and is not known before the file is cut.
        wire = self._encoders[key].encode(request, 0)
        limits = self._rules.limits
        if problem := too_large(request, wire, limits):
            return [problem]
        self._fingerprint.add(request)
        report = self.report
        long_id = len(request.custom_id) > _WARN_ID_LENGTH
        if long_id and not report.warnings and orjson.dumps(request.custom_id) in wire:
            report.warnings.append(
                f"line {number}: custom_id has {len(request.custom_id)} characters; some providers accept at most "
                f"{_WARN_ID_LENGTH} (reported once)"
            )
        together = (*key, variant)
        group = self._groups.get(together)
        if group is None:
            group = self._groups[together] = Group(*together)
        group.add(wire, counted_lines(request, wire, limits))
        group.rewritten = group.rewritten or wire != request.raw
        found = estimate(request, wire, self._rules.models.behind(request.model))
        group.expect(found)
        if not self._long and (warning := likely_too_long(request, found.likely, limits)):
            self._long = True
            report.warnings.append(warning)
        if found.output is None and report.uncapped is None:
            report.uncapped = number
        if found.unsized and report.unsized is None:
            report.unsized = f"line {number}: {found.unsized}"
        report.rows += 1
        return []

    def close(self) -> None:
        """Sum up."""
        for used in self._encoders.values():
            self.report.warnings += [f"{name}: {reason}" for name, reason in used.notes.items()]
        self.report.groups = [*self._groups.values()]
        self.report.fingerprint = self._fingerprint.hexdigest()


class Content:
    """A digest of the lines that pass through it."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=16)

    def of(self, lines: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
        """The same lines, taken in as they pass."""
        for number, raw in lines:
            self._digest.update(raw + b"\n")
            yield number, raw

    def hexdigest(self) -> str:
        """The digest of all lines that have passed."""
        return self._digest.hexdigest()


def _note(report: Report, problems: list[Problem]) -> None:
    report.problem_count += len(problems)
    report.problems.extend(problems[: max(0, KEPT_PROBLEMS - len(report.problems))])
