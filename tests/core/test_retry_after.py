"""A15: Retry-After in every form that a provider uses, read by one function and bounded."""

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.core.retry_after import LONGEST_SECONDS, retry_after

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"Retry-After": "7"}, "", 7.0),
        ({"retry-after": "0.5"}, "", 0.5),
        ({"retry-after": 3}, "", 3.0),
        ({"RETRY-AFTER": formatdate(NOW + 90, usegmt=True)}, "", 90.0),
        ({"retry-after": formatdate(NOW - 90, usegmt=True)}, "", 0.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, "", 1.5),
        ({"x-ms-retry-after-ms": "250"}, "", 0.25),
        ({"retry-after": "999999"}, "", LONGEST_SECONDS),
        ({"retry-after": "soon"}, "Please try again in 6m0s.", 360.0),
        ({}, b"Rate limit reached. Please try again in 20ms.", 0.02),
        ({}, {"statusCode": 429, "message": "Rate limit is exceeded. Try again in 21 seconds."}, 21.0),
        ({}, '{"error": {"details": [{"@type": "google.rpc.RetryInfo", "retryDelay": "23s"}]}}', 23.0),
        ({}, "Please retry in 23.5s.", 23.5),
        ({}, "Out of call volume quota. Quota will be replenished in 00:12:30.", 750.0),
        ({}, "Please retry after 4 seconds.", 4.0),
        ({}, "try again in 1 hour, 5 minutes", LONGEST_SECONDS),
        ({}, "try again in 3 messages", None),
        ({}, "Slow down.", None),
    ],
)
def test_every_form(headers, body, seconds):
    """Seconds, fractions, dates, milliseconds, and words."""
    found = retry_after(headers, body, NOW)
    assert found is None if seconds is None else found == pytest.approx(seconds, abs=0.01)


def test_a_date_against_the_clock():
    """Without a time given, a date is read against now."""
    assert 50 < (retry_after({"retry-after": formatdate(time.time() + 60, usegmt=True)}) or 0) <= 61


@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "x-ms-retry-after-ms"]), st.text()), st.text())
def test_never_out_of_bounds(headers, body):
    """Whatever a server sends, the wait is none or within bounds."""
    found = retry_after(headers, body)
    assert found is None or 0 <= found <= LONGEST_SECONDS
