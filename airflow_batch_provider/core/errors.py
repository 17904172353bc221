"""Every error of the package, grouped by what the caller does next.

::

    BatchInferenceError
    ├── PermanentError            fail for good: another try with the same input and settings ends the same way
    │   ├── InputError            the author's file has problems; ``problems`` names each by line
    │   ├── UntranslatableError   the provider does not support what one row contains; becomes a problem of its line
    │   ├── ConfigurationError    a connection, argument, option or extra is missing or wrong
    │   ├── AuthenticationError   401, 403: the key is wrong or may not do this
    │   ├── NotFoundError         404: the job or file does not exist for this key
    │   ├── RequestRejectedError  400 and other 4xx: the provider refused the call; nothing was created
    │   ├── RunConflictError      the run directory belongs to another run, input or provider, or is gone
    │   ├── LostCreateError       a create whose answer was lost could not be resolved
    │   ├── LostJobError          a job, or what it answered, is gone at the provider; the other rows are written
    │   ├── BudgetError           the cost would exceed ``max_cost_usd``, or is unknown
    │   ├── JobFailedError        the provider ended the job as failed and nothing was answered
    │   ├── RowsFailedError       more rows failed than tolerated, and sending again cannot help any
    │   ├── DeadlineError         the deadline has passed; the jobs keep running or were cancelled (``on_deadline``)
    │   └── ReconciliationError   the books do not balance; a defect, never hidden
    ├── RetryableError            try again later: nothing is lost, a retry continues where this stopped
    │   ├── ProviderError         5xx, timeout, cut connection; ``ambiguous`` when a create may have been accepted
    │   ├── AccountError          quota, billing or access of the account refused the call; nothing was created
    │   ├── StorageError          the store of the run directory or of the input could not be read or written
    │   └── ToleranceError        more rows failed than tolerated; a new try sends again what it can help
    └── WaitError                 not now: wait and send the same again
        ├── RateLimitedError      429; ``retry_after`` seconds where the provider says so
        ├── NotReadyError         a file or resource is still being made ready
        └── QuotaError            the enqueued-token or job quota is full; nothing was created
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class BatchInferenceError(Exception):
    """Base of every error this package raises on purpose."""


class PermanentError(BatchInferenceError):
    """Fail for good."""


class RetryableError(BatchInferenceError):
    """A later try continues where this one stopped."""


class WaitError(BatchInferenceError):
    """Wait, then send the same again.

    :param retry_after: seconds to wait, None where the provider does not say.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the input.

    :param line: 1-based line number, None for the file as a whole.
    :param field: the JSON path of the field, e.g. ``body.model``; empty for the line as a whole.
    :param message: what is wrong, and the remedy.
    """

    line: int | None
    field: str
    message: str

    def __str__(self) -> str:
        where = f"line {self.line}" if self.line is not None else "file"
        return f"{where}{', ' + self.field if self.field else ''}: {self.message}"


class InputError(PermanentError):
    """The author's file cannot be sent.

    :param path: the file.
    :param problems: the problems, in line order; at most what was kept.
    :param total: how many there are in all.
    """

    SHOWN = 20

    def __init__(self, path: str, problems: Sequence[Problem], total: int | None = None) -> None:
        self.path = path
        self.problems = tuple(problems)
        self.total = len(self.problems) if total is None else total
        shown = [f"  {problem}" for problem in self.problems[: self.SHOWN]]
        if self.total > len(shown):
            shown.append(f"  ... and {self.total - len(shown)} more")
        noun = "problem" if self.total == 1 else "problems"
        super().__init__(f"{path}: {self.total} {noun}; nothing was sent.\n" + "\n".join(shown))


class UntranslatableError(PermanentError):
    """A row contains what the provider does not support.

    :param field: the JSON path in the line, e.g. ``body.n``.
    :param message: what is wrong, and the remedy.
    """

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        self.message = message
        super().__init__(f"{field}: {message}")


class ConfigurationError(PermanentError):
    """A connection, argument, option or installed extra is missing or wrong."""


class AuthenticationError(PermanentError):
    """The provider does not accept the credentials (401) or they may not do this (403)."""


class NotFoundError(PermanentError):
    """The job or file does not exist for this key and endpoint (404)."""


class RequestRejectedError(PermanentError):
    """The provider refused the call; nothing was created.

    :param status: HTTP status, None where there was none.
    :param code: the provider's error code.
    """

    def __init__(self, message: str, *, status: int | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class RunConflictError(PermanentError):
    """The run directory does not fit this task: another run, input or provider, or it is gone."""


class LostCreateError(PermanentError):
    """A create may or may not have been accepted and could not be found at the provider."""


class LostJobError(PermanentError):
    """A job, or what it answered, is gone at the provider: looked for several times over minutes and never found."""


class BudgetError(PermanentError):
    """The cost would exceed the budget, or cannot be known."""


class JobFailedError(PermanentError):
    """The provider ended jobs as failed and no row was answered."""


class RowsFailedError(PermanentError):
    """More rows failed than ``error_tolerance`` allows, and sending again cannot help any of them."""


class DeadlineError(PermanentError):
    """The deadline has passed."""


class ReconciliationError(PermanentError):
    """Rows in and outcomes out do not balance."""


class ProviderError(RetryableError):
    """The provider could not be reached or answered 5xx.

    :param ambiguous: True when the call may have been carried out all the same (timeout, cut, 409, 5xx).
    :param status: HTTP status, None where there was none.
    :param retry_after: seconds to wait, None where the provider does not say.
    """

    def __init__(
        self,
        message: str,
        *,
        ambiguous: bool = True,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.ambiguous = ambiguous
        self.status = status
        self.retry_after = retry_after


class AccountError(RetryableError):
    """The account's quota, billing or access refused the call; nothing was created.

    Airflow retries it: an attempt costs one call, what was uploaded is used again, and quotas are raised and accounts
    filled up while a task waits for its retry. A key that is not accepted is an ``AuthenticationError``.
    """


class StorageError(RetryableError):
    """The store that holds the run directory or the input failed; nothing is known to be missing from it."""


class ToleranceError(RetryableError):
    """More rows failed than ``error_tolerance`` allows; a new try sends those again that it can help."""


class RateLimitedError(WaitError):
    """Too many calls (429), or another refusal that passes by itself."""


class NotReadyError(WaitError):
    """A file or resource is still being made ready; nothing was created."""


class QuotaError(WaitError):
    """The enqueued-token or job quota is full; nothing was created.

    :param tokens: whether it is the tokens, so that a smaller job may fit.
    """

    def __init__(self, message: str, *, tokens: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message, retry_after=retry_after)
        self.tokens = tokens
