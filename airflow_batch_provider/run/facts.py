"""What the JSON files of a run directory hold, as records; each is read once, where its file is.

A field that a later release has added is passed over; one that an earlier release did not write has its default. What
is written has the fields, in the order, that the file always had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypeVar, cast

from airflow_batch_provider.core.counts import Usage
from airflow_batch_provider.core.records import JSON, JobError, JobStatus, OnUnusable, Outcome, Shard

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Data = TypeVar("Data", bound=DataclassInstance)

Fact: TypeAlias = Literal["intent", "job", "refused", "cancel", "lost", "end", "twin", "doubt"]
"""The facts of a create, as the names of their files have them."""
R = TypeVar("R", bound="Record")


def read_as(kind: type[Data], given: Mapping[str, Any]) -> Data:
    """The fields of a dataclass that a JSON object has.

    :raises TypeError: when one is missing.
    """
    names = {one.name for one in fields(kind)}
    return kind(**{name: value for name, value in given.items() if name in names})


@dataclass(frozen=True, slots=True)
class Record:
    """One JSON object."""

    @classmethod
    def read(cls: type[R], given: JSON) -> R:
        """The record that a file holds.

        :raises TypeError: or ``KeyError``, ``AttributeError``, when it holds another one.
        """
        return read_as(cls, given)

    def written(self) -> JSON:
        """The record as its file holds it."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord(Record):
    """``run.json``: who the run is.

    :param id: the directory's own random id; empty in version 1, which has it in ``ledger/id.json``.
    :param uri: where the run was begun; None in version 1.
    :param look_first: whether jobs of a deleted record were looked for before the first create.
    :param options: the author's, see :class:`~airflow_batch_provider.core.records.RunOptions`, without secrets.
    """

    version: int
    id: str = ""
    uri: str | None = None
    run_key: str
    fingerprint: str
    conn_id: str
    identity: Mapping[str, Any]
    input_path: str
    rows: int
    look_first: bool = False
    options: Mapping[str, Any]
    begun_at: float

    @property
    def on_unusable(self) -> OnUnusable:
        """What became of answers without use; one of an earlier release was kept."""
        return cast(OnUnusable, self.options.get("on_unusable", "keep"))

    @property
    def expected_output_tokens(self) -> int | None:
        """How long an answer is expected to be where its row names no bound."""
        return self.options.get("expected_output_tokens")


@dataclass(frozen=True, slots=True)
class DirectoryId(Record):
    """``id.json``: the directory's id, where the run was begun before ``run.json`` held it."""

    id: str


@dataclass(frozen=True, slots=True)
class Tries(Record):
    """``tries.json``: what a new try changes.

    :param series_start: the first round of this try.
    :param deadline: seconds since the epoch; None before the first round is begun.
    :param stopped: why this try sends nothing more; None while it does.
    """

    series_start: int = 0
    deadline: float | None = None
    stopped: str | None = None


@dataclass(frozen=True, slots=True)
class RoundPlan(Record):
    """The shards of a round; for ``not_before`` and ``max_tokens`` see :class:`~.attempts.Round`."""

    shards: Sequence[Shard]
    planned_at: float
    not_before: float = 0.0
    max_tokens: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, given: JSON) -> RoundPlan:
        """The record that a file holds."""
        return read_as(cls, {**given, "shards": [read_as(Shard, shard) for shard in given["shards"]]})


@dataclass(frozen=True, slots=True)
class Intent(Record):
    """The create of a job before it is sent, in one of four shapes: the exact call; a job that was found without its
    record; one that was created outside Airflow; or a shard that is given up and not sent.

    :param at: when it was written, seconds since the epoch.
    :param input_id: the upload.
    :param request: what is sent.
    :param job_id: of a job that was found.
    :param borrowed: whether another run directory made that job, so that it is read and never cancelled.
    :param surplus: the other jobs of the same create.
    :param same: of a borrowed one, the other jobs with the same bytes; they are read if rows are still open.
    :param attached: whether the job was created outside Airflow.
    :param given_up: the code of rows that are not sent.
    """

    fact: ClassVar[Fact] = "intent"
    token: str = ""
    at: float = 0.0
    input_id: str | None = None
    request: JSON | None = None
    job_id: str | None = None
    borrowed: bool = False
    surplus: Sequence[str] = ()
    same: Sequence[str] = ()
    attached: bool = False
    given_up: str | None = None

    def written(self) -> JSON:
        """The fields of its shape."""
        names: tuple[str, ...] = ("token", "at", "input_id", "request")
        if self.given_up is not None:
            names = ("given_up", "at")
        elif self.attached:
            names = ("token", "at", "attached")
        elif self.job_id is not None:
            names = ("token", "at", "job_id", "borrowed", "surplus", "same")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Made(Record):
    """The job of a create.

    :param at: when it was written; None for one that was created outside Airflow.
    :param found: whether a look found it, and no answer named it.
    :param borrowed: whether it is not proven to be this directory's, so that it is read and never cancelled.
    :param surplus: further jobs of the same create, which are cancelled next.
    """

    fact: ClassVar[Fact] = "job"
    job_id: str
    at: float | None = None
    found: bool = False
    borrowed: bool = False
    console_url: str | None = None
    surplus: Sequence[str] = ()

    def written(self) -> JSON:
        """Of a job that was created outside Airflow, id and page alone."""
        return {"job_id": self.job_id, "console_url": self.console_url} if self.at is None else asdict(self)


@dataclass(frozen=True, slots=True)
class Refused(Record):
    """A create that is known to have made nothing.

    :param first: the number of the first create whose refusal this one replaces; None for itself only.
    :param kind: the class of the error.
    :param times: how many refusals in a row it replaces, the first of them at ``since``.
    :param again_at: when the create may be sent again; None for never.
    :param wait: whether the upload serves the next create.
    :param full: how many of them were refused because the queue was too full for the shard.
    """

    fact: ClassVar[Fact] = "refused"
    at: float
    first: int | None = None
    kind: str = ""
    times: int = 1
    since: float | None = None
    again_at: float | None = None
    wait: bool = False
    full: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Cancel(Record):
    """The provider was requested to cancel the job."""

    fact: ClassVar[Fact] = "cancel"
    at: float


@dataclass(frozen=True, slots=True)
class Twin(Record):
    """A second job of the same create, and whether it was cancelled."""

    job_id: str
    status: str
    cancelled: bool


@dataclass(frozen=True, slots=True)
class Doubt(Record):
    """How often in a row, and since when, a job or its answers were not found."""

    first: float = 0.0
    looks: int = 0
    job_id: str | None = None

    def written(self) -> JSON:
        """Without the job where there is no doubt in one."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class End(Record):
    """How a job ended, or that it or its answers are gone.

    :param job_id: empty for rows that were given up before a job was made of them.
    :param outcomes: rows by outcome.
    :param usage: tokens of all its answers.
    :param unmetered: answers for which the provider reported no tokens, so that their cost is unknown.
    :param cost_usd: of all its answers, at the prices of its day; None where it was unknown.
    :param unpriced: answers of a model or service tier other than requested, whose price is not known.
    :param served: the first of those models and tiers.
    :param lost: rows whose answer is gone at the provider; they may have been billed.
    :param lines: output lines ``received``, of them ``duplicates``, ``foreign`` (ids not sent), ``nameless`` (no id).
    """

    job_id: str
    status: str
    raw_status: str
    ended_at: float
    outcomes: dict[Outcome, int]
    usage: Usage
    errors: tuple[JobError, ...] = ()
    lines: dict[str, int] = field(default_factory=dict)
    unmetered: int = 0
    cost_usd: float | None = None
    lost: int = 0
    unpriced: int = 0
    served: str = ""

    @classmethod
    def read(cls, given: JSON) -> End:
        """The record that a file holds."""
        errors = tuple(read_as(JobError, error) for error in given["errors"])
        return read_as(cls, {**given, "usage": read_as(Usage, given["usage"]), "errors": errors})

    @property
    def was_not_asked(self) -> bool:
        """Whether the job failed as a whole, or there was none."""
        return not self.job_id or self.status == JobStatus.FAILED.value
