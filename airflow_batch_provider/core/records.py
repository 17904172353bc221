"""The records that the parts hand to each other.

They are never changed, and carry no behaviour beyond what can be derived from their own fields. Sizes are in bytes,
times in seconds since the epoch (UTC), token counts in the provider's own tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Literal, NamedTuple, TypeAlias

from airflow_batch_provider.core.counts import UNKNOWN, Usage
from airflow_batch_provider.core.errors import ConfigurationError

JSON: TypeAlias = "dict[str, Any]"
"""A decoded JSON object; what it holds is said where it is used."""


class JobStatus(str, Enum):
    """The state of a job, in one vocabulary for all providers."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    PARTIALLY_COMPLETED = "partially_completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended; ``unknown`` has not, so that a new word of a provider is waited for."""
        return self in _TERMINAL


_TERMINAL = frozenset(
    {
        JobStatus.COMPLETED,
        JobStatus.PARTIALLY_COMPLETED,
        JobStatus.FAILED,
        JobStatus.EXPIRED,
        JobStatus.CANCELLED,
    }
)

OnLostCreate: TypeAlias = Literal["fail", "resubmit"]
OnUnusable: TypeAlias = Literal["keep", "invalid"]
OnLostJob: TypeAlias = Literal["fail", "resubmit"]
OnDeadline: TypeAlias = Literal["fail", "cancel"]
Outcome = Literal["succeeded", "invalid", "failed", "expired", "cancelled", "missing"]
OUTCOMES: tuple[Outcome, ...] = ("succeeded", "invalid", "failed", "expired", "cancelled", "missing")

Quality: TypeAlias = Literal["empty", "cut", "refused", "filtered", "tool_calls", "media"]
"""What is particular about an answer; several may hold, e.g. ``empty`` and ``cut`` where reasoning used up the tokens.

``empty``: no content of any kind, or not the picture that was wanted. ``cut``: ended at the token limit, or otherwise
before it was finished. ``refused``: a refusal and no other content.
``filtered``: stopped by a content filter. ``tool_calls``: tool calls, no text. ``media``: images or audio, no text.
"""
QUALITIES: tuple[Quality, ...] = ("empty", "cut", "refused", "filtered", "tool_calls", "media")


class Refusal(str, Enum):
    """Why a provider refused; who decides it, and what follows, is in :mod:`airflow_batch_provider.core.refusals`."""

    REQUEST = "request"
    ACCOUNT = "account"
    PASSING = "passing"
    NOT_YET = "not_yet"
    FULL = "full"
    WITHDRAWN = "withdrawn"

    @property
    def helped_by_round(self) -> bool:
        """Whether the next round of the same try should send again."""
        return self in _HELPED_BY_ROUND

    @property
    def helped_by_try(self) -> bool:
        """Whether a new try should send again."""
        return self is not Refusal.REQUEST


_HELPED_BY_ROUND = frozenset({Refusal.PASSING, Refusal.NOT_YET, Refusal.FULL})


class BatchRequest(NamedTuple):
    """One line of the author's file, resolved. A named tuple, because there is one for each row.

    :param custom_id: the row's id, unique in the file.
    :param endpoint: resolved, in OpenAI's spelling (``/v1/chat/completions``).
    :param model: resolved model; None where the backend needs none.
    :param body: the decoded body as the author wrote it; ``model`` above wins over ``body["model"]``.
    :param raw: the author's line without its end of line, byte for byte.
    :param line: 1-based line number in the input.
    :param url: the line's own, where it has all fields of a wire line and no other; None where not, or not read.
    """

    custom_id: str
    endpoint: str
    model: str | None
    body: JSON
    raw: bytes
    line: int
    url: str | None = None


class Content(NamedTuple):
    """What an answer says, whatever its endpoint. A named tuple, because there is one for each row.

    :param text: of a chat, response or completion; where there is none, the arguments of its only tool call, its tool
        calls as JSON, or the transcript of its audio; JSON of vectors or moderation results.
    :param finish_reason: why a text ended; of responses the status, or why it is incomplete.
    """

    text: str | None = None
    finish_reason: str | None = None
    refusal: str | None = None
    qualities: frozenset[Quality] = frozenset()


@dataclass(slots=True)
class BatchResult:
    """One decoded output line, not frozen, for that is slow. Whoever needs more reads ``data`` and ``content``.

    :param custom_id: the row it answers; None where the provider lost it (a bare error object of a gateway).
    :param outcome: what became of the row.
    :param line: the line in OpenAI's output format, without end of line:
        ``{"id", "custom_id", "response": {"status_code", "request_id", "body"} | null, "error": {...} | null}``.
    :param refusal: why there is no answer, so when sending again can help; None where there is one.
    :param usage: tokens of this answer.
    :param model: the model that says it answered.
    :param tier: the service tier it was answered at, where that is billed otherwise than a batch.
    :param data: ``line``, parsed; empty where the row is not known. Read only.
    :param content: what ``data`` says.
    """

    custom_id: str | None
    outcome: Outcome
    line: bytes
    refusal: Refusal | None = None
    usage: Usage = UNKNOWN
    model: str | None = field(default=None, compare=False)
    tier: str | None = field(default=None, compare=False)
    data: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    content: Content = field(default=Content(), compare=False, repr=False)

    @property
    def qualities(self) -> frozenset[Quality]:
        """Whether the answer is empty, was cut off, ...; of rows that succeeded."""
        return self.content.qualities if self.outcome == "succeeded" else frozenset()

    @property
    def retryable(self) -> bool:
        """Whether the next round of the same try should send the row again."""
        return self.refusal is not None and self.refusal.helped_by_round


@dataclass(frozen=True, slots=True)
class RequestCounts:
    """A job's own counts; None where the provider does not report them."""

    total: int | None = None
    completed: int | None = None
    failed: int | None = None


@dataclass(frozen=True, slots=True)
class JobError:
    """One entry of a job's ``errors`` list. ``line`` is 1-based in the uploaded file."""

    message: str
    code: str | None = None
    line: int | None = None
    param: str | None = None

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line is not None else ""
        what = f" [{self.code}]" if self.code else ""
        return f"{where}{self.message}{what}"


@dataclass(frozen=True, slots=True)
class Job:
    """One provider batch, normalised.

    :param id: the provider's id, decoded (never percent-encoded).
    :param raw_status: the provider's own word, for messages.
    :param created_at: seconds since the epoch, None where not reported.
    :param input_id: handle of the uploaded file (file id or URI), decoded; None where not reported.
    :param outputs: handles of everything that may hold output lines (file ids, URIs, prefixes), successes first.
    :param unread: what the provider says of its outputs, where that names no file; empty where all of it is read.
    :param errors: why the job as a whole failed.
    :param metadata: the batch's metadata, labels or tags.
    :param model: the model of the whole job, where the provider reports it.
    """

    id: str
    status: JobStatus
    raw_status: str = ""
    counts: RequestCounts = RequestCounts()
    created_at: float | None = None
    ended_at: float | None = None
    input_id: str | None = None
    outputs: tuple[str, ...] = ()
    errors: tuple[JobError, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    usage: Usage | None = None
    endpoint: str | None = None
    name: str | None = None
    model: str | None = None
    unread: str = ""


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of wire lines: one round, one model, one endpoint, within the backend's limits.

    :param index: 0-based, unique in its round.
    :param size: bytes of the wire file, ends of line included.
    :param rewritten: whether the wire lines differ from the author's requests (then ``shards/`` holds them).
    :param tokens: its likely input tokens, as they count in the queue; see ``core.estimating``.
    :param output_tokens: the most output tokens of the rows that name a bound.
    :param uncapped: how many rows name none.
    :param most_tokens: the most input tokens, sound left out; None where a run was planned before they were counted.
    :param sound_tokens: the most input tokens of sound.
    :param media_rows: how many rows may be answered with sound or images; ``unsized``, have input without a bound.
    :param large: of each long row (``core.counts.LARGE_ROW``) the most input tokens, output tokens (-1: any) and sound.
    :param variant: rows of different variants may not share a file; 0 where the provider does not mind.
    :param digest: SHA-256 of the wire file; empty where it was planned by an earlier version.
    """

    round: int
    index: int
    rows: int
    size: int
    model: str | None
    endpoint: str
    rewritten: bool = False
    tokens: int = 0
    output_tokens: int = 0
    uncapped: int = 0
    variant: int = 0
    digest: str = ""
    most_tokens: int | None = None
    sound_tokens: int = 0
    media_rows: int = 0
    unsized: int = 0
    large: Sequence[Sequence[int]] = ()

    @property
    def name(self) -> str:
        """The shard's name in the run directory: ``r0-00000``."""
        return f"r{self.round}-{self.index:05d}"


class Life(NamedTuple):
    """How many seconds the files of a batch may be kept, and who says so."""

    least: int
    most: int
    source: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file or job of a backend may hold: facts, each with its source.

    :param max_rows: requests per file.
    :param max_bytes: bytes per file, ends of line included.
    :param max_texts: texts to embed in a job, None where they are not counted.
    :param max_row_texts: texts to embed in one request.
    :param max_row_tokens: tokens to embed in one request.
    :param min_rows: fewer requests than this are refused by the provider.
    :param window_hours: after how many hours the provider ends a job by itself, or when to give up on it.
    :param longest_hours: the longest time that a run may set for a job, of which ``window_hours`` is then the shortest;
        None where it has no say.
    :param endpoints: accepted endpoints in OpenAI's spelling.
    :param source: where the figures come from.
    :param life: how long files may be kept (``expires_after``), None if unknown.
    """

    max_rows: int
    max_bytes: int
    source: str
    endpoints: tuple[str, ...]
    min_rows: int = 1
    window_hours: float = 24
    longest_hours: float | None = None
    model_required: bool = True
    max_texts: int | None = None
    max_row_texts: int | None = None
    max_row_tokens: int | None = None
    life: Life | None = None

    def within(self, min_rows: int | None, max_rows: int | None, max_bytes: int | None) -> Limits:
        """With an account's own quotas, where it has others."""
        return replace(
            self,
            min_rows=min_rows or self.min_rows,
            max_rows=max_rows or self.max_rows,
            max_bytes=max_bytes or self.max_bytes,
        )


@dataclass(frozen=True, slots=True)
class ModelRules:
    """Where a line's model comes from, strongest first: ``override`` (the operator's), ``mapping`` of the line's model,
    the line's own, ``default`` (the connection's).

    :param prices: the connection's own, by model or ``"*"``; see :func:`airflow_batch_provider.run.pricing.find_price`.
        ``"model"`` in one names the model behind a deployment.
    """

    override: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None
    prices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def resolve(self, line_model: str | None) -> str | None:
        """The model that will be used, None where nothing names one."""
        if self.override:
            return self.override
        if line_model:
            return self.mapping.get(line_model, line_model)
        return self.default

    def behind(self, model: str | None) -> str | None:
        """The model whose rules hold: the one that the connection names for a deployment, else the name itself."""
        return (self.prices.get(model or "") or {}).get("model") or model


@dataclass(frozen=True, slots=True)
class Admission:
    """What may be alive at the provider at once.

    :param max_jobs: jobs of one run; None for any number.
    :param max_tokens: enqueued input tokens of one run, by model, or ``"*"`` for any model.
    """

    max_jobs: int | None = None
    max_tokens: Mapping[str, int] = field(default_factory=dict)

    def tokens_of(self, model: str | None) -> int | None:
        """The enqueued tokens that a model may have, None for any number."""
        return self.max_tokens.get(model or "", self.max_tokens.get("*"))


@dataclass(frozen=True, slots=True)
class Found:
    """Answer of a look for a job that may have been created.

    :param jobs: the matching jobs, each once, oldest first.
    :param complete: whether every page was read and the list is known to show every job, so that an empty answer
        means *absent*; False means *unknown*.
    :param broken: why the list could not be read to its end; empty where it could.
    :param likely: by a create's token, the job that nothing but rows and time make its own: it is read and never
        cancelled; see ``core.finding.by_count``.
    """

    jobs: tuple[Job, ...]
    complete: bool
    broken: str = ""
    likely: Mapping[str, Job] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The author's options; see ``BatchInferenceOperator`` for the meaning.

    :param timeout: seconds a round may take; None for the provider's window and two hours.
    """

    model: str | None = None
    endpoint: str | None = None
    rounds: int = 2
    error_tolerance: float = 0.0
    timeout: float | None = None
    max_cost_usd: float | None = None
    expected_output_tokens: int | None = None
    max_jobs_in_flight: int | None = None
    max_enqueued_tokens: int | None = None
    on_deadline: OnDeadline = "fail"
    on_lost_create: OnLostCreate = "fail"
    on_lost_job: OnLostJob = "fail"
    on_changed_input: Literal["fail", "restart"] = "fail"
    on_unusable: OnUnusable = "keep"
    backend_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("rounds", "max_jobs_in_flight", "max_enqueued_tokens", "expected_output_tokens"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigurationError(f"{name} must be 1 or more, not {value}")
        if self.timeout is not None and self.timeout <= 0:
            raise ConfigurationError(f"timeout must be a number of seconds above 0, not {self.timeout}")
