"""From typed errors to Airflow's."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from airflow_batch_provider.core.errors import BatchInferenceError, PermanentError

try:
    from airflow.sdk.exceptions import AirflowFailException
except ImportError:  # Airflow 3.1
    from airflow.exceptions import AirflowFailException  # type: ignore[no-redef]


@contextlib.contextmanager
def airflow_errors() -> Iterator[None]:
    """Turn errors that a retry cannot fix into the exception that Airflow does not retry."""
    try:
        with _quiet("httpx", "httpx2"):  # the clients of openai 2 and 3
            yield
    except PermanentError as error:
        # One exception with the whole way to it: a chain would print the same words and most of the way twice.
        final = AirflowFailException(f"{type(error).__name__}: {error}")
        raise final.with_traceback(_alone(error).__traceback__) from None
    except BatchInferenceError as error:
        raise _alone(error)  # noqa: B904 - it is the same error


@contextlib.contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Keep a client's line for every call out of the log, unless its level was set."""
    loggers = [one for one in map(logging.getLogger, names) if one.level == logging.NOTSET]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger in loggers:
            logger.setLevel(logging.NOTSET)


def _alone(error: BatchInferenceError) -> BatchInferenceError:
    """Without the client library's own exception behind it, whose text may quote the keys that a server echoed and is
    printed with every traceback; ours says the same, keys left out."""
    last: BaseException = error
    while isinstance(behind := last.__cause__ or last.__context__, BatchInferenceError):
        last = behind
    last.__cause__ = last.__context__ = None
    return error
