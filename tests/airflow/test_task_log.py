"""What people read in a task's log."""

from __future__ import annotations

import logging
import traceback

import pytest

from airflow_batch_provider.core.counts import Usage
from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.progress import summary_line
from airflow_batch_provider.core.records import Outcome
from airflow_batch_provider.core.summary import RunSummary
from airflow_batch_provider.operators.errors import AirflowFailException, airflow_errors


def summary(cost_usd: float | None, outcomes: dict[Outcome, int], **more: object) -> RunSummary:
    """What became of a run of one job."""
    known = {
        "run_key": "d/t/r/-1",
        "run_path": "s3://bucket/run",
        "total": sum(outcomes.values()),
        "outcomes": outcomes,
        "retryable": 0,
        "rounds": 1,
        "usage": Usage(input_tokens=4170, output_tokens=2970),
        "cost_usd": cost_usd,
        "reasons": {},
        "jobs": ({"id": "batch_1", "model": "big", "cost_usd": cost_usd},),
        "job_errors": (),
        "begun_at": 0.0,
        "ended_at": 1.0,
    }
    return RunSummary(**{**known, **more})  # type: ignore[arg-type]


def test_the_last_line_begins_with_what_matters() -> None:
    """Numbers first, the path last; outcomes that no row had are not told."""
    counts: dict[Outcome, int] = {"succeeded": 1498, "invalid": 2, "failed": 0}
    assert summary_line(summary(0.00161, counts)) == (
        "1,500 rows: 1,498 succeeded, 2 invalid; 4,170 input and 2,970 output tokens; cost 0.0016 USD; "
        "all in s3://bucket/run"
    )


def test_an_unknown_cost_says_why() -> None:
    """What is missing is named."""
    line = summary_line(summary(None, {"succeeded": 1}, cost_unknown="no price is known for big"))
    assert "cost unknown (no price is known for big)" in line


def test_a_run_without_a_row_says_so() -> None:
    """Nothing asked is no success."""
    assert summary_line(summary(0.0, {"succeeded": 0}, jobs=())).startswith("0 rows: no rows were sent; ")


def test_a_failure_is_told_once() -> None:
    """The log prints one exception, which leads to where it was raised, and not a chain of two with the same words."""
    with pytest.raises(AirflowFailException) as caught, airflow_errors():
        raise ConfigurationError("the key is missing")
    told = "".join(traceback.format_exception(caught.value))
    assert told.count("the key is missing\n") == 1
    assert "in test_a_failure_is_told_once" in told
    assert "During handling" not in told
    assert "direct cause" not in told


@pytest.mark.parametrize("name", ["httpx", "httpx2"])
def test_calls_of_the_client_do_not_fill_the_log(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """The client logs each call at INFO; a task that looks every minute for a day has no use for that."""
    client = logging.getLogger(name)
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.NOTSET, logger=name)
    with airflow_errors():
        client.info("HTTP Request: GET")
        client.warning("worth reading")
    client.info("afterwards")
    assert [record.message for record in caplog.records] == ["worth reading", "afterwards"]


def test_who_asks_for_calls_sees_them(caplog: pytest.LogCaptureFixture) -> None:
    """A level that somebody has set stays."""
    with caplog.at_level(logging.DEBUG, logger="httpx"), airflow_errors():
        logging.getLogger("httpx").debug("HTTP Request: GET")
    assert "HTTP Request" in caplog.text
