"""What a fake provider does wrong, as one plan that a test may change while the fake runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.testing.calls import Answer, Call


@dataclass(frozen=True, slots=True)
class Said:
    """An error in a provider's own words, where a status alone does not say enough.

    :param code: OpenAI's ``code``, Amazon's kind of error, Google's ``status``.
    :param kind: OpenAI's ``type``.
    :param bare: of a row on Vertex AI: its ``status`` is the message alone, without JSON.
    """

    status: int
    message: str = ""
    code: str | None = None
    kind: str | None = None
    bare: bool = False

    @classmethod
    def of(cls, planned: int | Said, message: str) -> Said:
        """What is planned, with a message."""
        return cls(planned, message) if isinstance(planned, int) else planned


@dataclass(slots=True)
class FaultPlan:
    """Faults of a :class:`~airflow_batch_provider.testing.FakeProvider`; a fresh plan has none.

    Lists of HTTP statuses are used up from the front, one per call of that kind, counts likewise; the calls after them
    are answered as they should be. A status may be a :class:`Said`. ``docs/testing.md`` says what each does where.

    :param latency: seconds before every answer.
    :param retry_after: the ``Retry-After`` header of every 429 and 503 below, in seconds or as it is written.
    :param create_status: refuse these creates; nothing is created. ``upload_status``, ``poll_status``, ``list_status``,
        ``download_status`` and ``cancel_status`` refuse calls of the other kinds.
    :param objects_status: refuse these listings of a bucket.
    :param accepted_status: answer these creates with an error although the batch exists.
    :param token_limit: so many creates are refused with 400 ``token_limit_exceeded``.
    :param cut_before_accept: so many creates end in a closed connection, and no batch.
    :param cut_after_accept: so many creates end in a closed connection although the batch exists.
    :param late_accept: creates that end in a closed connection and make their batch so many seconds later.
    :param slow_accept: seconds between accepting these creates and answering them; the time to kill who waits.
    :param create_twice: so many creates make two batches and tell of the second: what a gateway does that repeats a
        create whose answer it did not get.
    :param double_list: every batch stands twice on each page of a list.
    :param stuck_list: a list ignores where to go on, and says for ever that there is more.
    :param hollow_list: so many pages of a list are empty and say that there is more.
    :param clock_ahead: seconds by which the provider's clock is ahead of ours; negative for behind.
    :param cut_downloads: so many downloads are cut in the middle, before the promised length.
    :param short_downloads: so many downloads end in the middle of a line as if that were all: the length fits.
    :param ragged_downloads: so many downloads end early, at the end of a line, as if that were all: the length fits.
    :param cut_every: every download breaks off after so many bytes (openai-python#2959: above 200 MB "peer closed
        connection without sending complete message body").
    :param no_ranges: a ``Range`` is ignored: the answer is 200 and the whole file, as through many a gateway.
    :param cancel_in_vain: cancels are accepted, and the batch goes on to its end; not for one that is held.
    :param jobs: the faults below touch only so many batches, the first ones; None for all.
    :param job_errors: fail the batch at validation with these entries (``code``, ``message``, ``line``, ``param``).
    :param fail_rows: custom_id (``"*"`` for every row) and the HTTP status the row fails with.
    :param expire_after_rows: the batch expires when so many rows are answered.
    :param expired_fraction: the batch expires when this share of its rows is still open.
    :param cancel_after_rows: the provider cancels the batch when so many rows are answered.
    :param hold_after_rows: the batch stays in progress after so many rows, until somebody cancels it.
    :param silent_unrun: rows that a cancelled batch never ran are in no file.
    :param reorder: output lines come in reverse order.
    :param drop: so many lines are missing from the end of a downloaded file.
    :param duplicate: so many lines come twice.
    :param foreign: so many lines answer a custom_id that nobody asked.
    :param malformed: so many lines are no JSON.
    :param line_separators: answers hold U+2028 and U+0085 unescaped.
    :param bom: files begin with a byte order mark.
    :param crlf: lines end in CR and LF.
    :param lying_counts: ``request_counts`` has nothing to do with the batch.
    :param unknown_status_polls: the first so many polls of a batch tell a status nobody has heard of.
    :param null_times: every time of a batch is null.
    :param ms_times: times are numbers of milliseconds; Bedrock's of seconds, for its SDK reads no other; Vertex AI's
        stay as they are.
    :param iso_times: times are ISO 8601; those that always were, in an unusual spelling of it.
    :param empty_error_file: a batch without failures has an error file, or its bucket another object, of zero bytes.
    :param no_output: a completed batch names no output and no error file; a gateway's ``/output`` has it.
    :param lost_output: the output of a batch is not to be had, whatever the batch names.
    :param echo_headers: every text of every answer, error and output line quotes the caller's headers and JSON
        body, keys included.
    :param heard: what is quoted in output lines; set by the fake.
    :param late_output: after its end a batch has no output for so many polls, although it is completed and counts its
        answers (openai-cookbook#1564, langextract#470); a cloud's bucket then holds none.
    :param lost_job: the batch is not known any more: 404 for a poll, a cancel and its output (tensorzero#1198).
    :param strange_names: a cloud writes its output under names of its own (LiteLLM PR #40469).
    """

    latency: float = 0.0
    retry_after: float | str | None = None
    create_status: list[int | Said] = field(default_factory=list)
    accepted_status: list[int | Said] = field(default_factory=list)
    upload_status: list[int | Said] = field(default_factory=list)
    poll_status: list[int | Said] = field(default_factory=list)
    list_status: list[int | Said] = field(default_factory=list)
    download_status: list[int | Said] = field(default_factory=list)
    cancel_status: list[int | Said] = field(default_factory=list)
    objects_status: list[int | Said] = field(default_factory=list)
    token_limit: int = 0
    cut_before_accept: int = 0
    cut_after_accept: int = 0
    late_accept: list[float] = field(default_factory=list)
    slow_accept: list[float] = field(default_factory=list)
    create_twice: int = 0
    double_list: bool = False
    stuck_list: bool = False
    hollow_list: int = 0
    clock_ahead: float = 0.0
    cut_downloads: int = 0
    short_downloads: int = 0
    ragged_downloads: int = 0
    cut_every: int | None = None
    no_ranges: bool = False
    cancel_in_vain: bool = False
    jobs: int | None = None
    job_errors: list[JSON] = field(default_factory=list)
    fail_rows: Mapping[str, int | Said] = field(default_factory=dict)
    expire_after_rows: int | None = None
    expired_fraction: float | None = None
    cancel_after_rows: int | None = None
    hold_after_rows: int | None = None
    silent_unrun: bool = False
    reorder: bool = False
    drop: int = 0
    duplicate: int = 0
    foreign: int = 0
    malformed: int = 0
    line_separators: bool = False
    bom: bool = False
    crlf: bool = False
    lying_counts: bool = False
    unknown_status_polls: int = 0
    null_times: bool = False
    ms_times: bool = False
    iso_times: bool = False
    empty_error_file: bool = False
    no_output: bool = False
    lost_output: bool = False
    echo_headers: bool = False
    heard: str = ""
    late_output: int = 0
    lost_job: bool = False
    strange_names: bool = False

    def take_status(self, kind: str) -> Said | None:
        """The HTTP error the next call of this kind ends in, None for none."""
        statuses: list[int | Said] = getattr(self, f"{kind}_status", [])
        if not statuses:
            return None
        planned = statuses.pop(0)
        return Said.of(planned, f"The fake was told to answer {planned}.")

    def row_error(self, *names: str) -> Said | None:
        """How a row that goes by these names fails, None for one that does not."""
        planned = next((self.fail_rows[name] for name in (*names, "*") if name in self.fail_rows), None)
        return None if planned is None else Said.of(planned, f"The fake was told to fail this row with {planned}.")

    def wait_headers(self, status: int) -> dict[str, str]:
        """``Retry-After`` as it is planned for an answer."""
        wait = self.retry_after
        if wait is None or status not in {429, 503}:
            return {}
        return {"retry_after": wait if isinstance(wait, str) else f"{wait:g}"}

    def take(self, name: str) -> bool:
        """Whether the count of this name had one left, which is used up now."""
        left: int = getattr(self, name)
        if left > 0:
            setattr(self, name, left - 1)
        return left > 0

    def page(self, items: list[JSON]) -> list[JSON]:
        """What one page of a list shows of these items."""
        return [item for item in items for _ in range(2)] if self.double_list else items

    def reset(self) -> None:
        """From now on, no faults."""
        fresh = type(self)()
        for known in fields(self):
            setattr(self, known.name, getattr(fresh, known.name))

    def echo(self, call: Call, answer: Answer) -> Answer:
        """The answer to a call, which quotes it where that is planned."""
        from airflow_batch_provider.testing import echo

        if not self.echo_headers:
            return answer
        self.heard = echo.text_of(call)
        return echo.echoed(answer, self.heard)

    @property
    def spoils_lines(self) -> bool:
        """Whether output files are not as they should be."""
        lines = self.reorder or self.drop or self.duplicate or self.foreign or self.malformed
        return bool(lines or self.bom or self.crlf)

    def spoil(self, lines: list[bytes], foreign: Callable[[int], bytes], broken: bytes) -> list[bytes]:
        """Output lines as a bad day leaves them.

        :param lines: as they should be, without their ends.
        :param foreign: makes the line that answers the n-th stranger.
        :param broken: a line that is no JSON.
        """
        kept = [*lines[: max(0, len(lines) - self.drop)], *lines[: self.duplicate]]
        kept += [foreign(number) for number in range(self.foreign)] + [broken] * self.malformed
        if self.reorder:
            kept.reverse()
        return kept

    @staticmethod
    def short(content: bytes) -> bytes:
        """Half of a file, which never ends where a line does."""
        half = content[: len(content) // 2]
        return half[:-1] if half.endswith(b"\n") else half

    @staticmethod
    def ragged(content: bytes) -> bytes:
        """Half of a file's lines, or one fewer than all."""
        lines = content.splitlines(keepends=True)
        return b"".join(lines[: len(lines) // 2])

    def cut_at(self, size: int) -> int | None:
        """After how many bytes a download of this size breaks off, None for never."""
        if self.take("cut_downloads"):
            return size // 2
        return self.cut_every if self.cut_every is not None and self.cut_every < size else None

    def file(self, lines: list[bytes]) -> bytes:
        """An output file of these lines."""
        if self.echo_headers:
            from airflow_batch_provider.testing import echo

            lines = [echo.line(line, self.heard) for line in lines]
        end = b"\r\n" if self.crlf else b"\n"
        return (b"\xef\xbb\xbf" if self.bom else b"") + b"".join(line + end for line in lines)
