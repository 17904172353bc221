"""Numbers that authors write as text: plain decimal digits and nothing that Python alone takes for a number."""

from decimal import Decimal

import pytest

from airflow_batch_provider.core.counts import read_guard, read_share, read_whole_guard
from airflow_batch_provider.core.errors import ConfigurationError


@pytest.mark.parametrize(
    "given",
    [
        "1_000",
        "٣",
        "१.५",
        "\uff11",
        b"5",
        bytearray(b"5"),
        "1,000",
        "1 000",
        "0x10",
        "inf",
        "nan",
        "1e999",
        "1.5.2",
        [5],
        "5$",
    ],
)
@pytest.mark.parametrize("reading", [read_guard, read_whole_guard])
def test_a_guard_is_written_in_decimal_digits(given, reading):
    """X14: a limit that only Python, or only its reader, takes for a number is refused with the argument's name."""
    with pytest.raises(ConfigurationError, match="max_cost_usd"):
        reading("max_cost_usd", given, "USD")


@pytest.mark.parametrize("given", ["0_5", "\u0660", b"0", "nan", ".", ""])
def test_a_share_is_written_in_decimal_digits(given):
    """X14: the same for error_tolerance."""
    with pytest.raises(ConfigurationError, match="error_tolerance"):
        read_share("error_tolerance", given)


@pytest.mark.parametrize("given", [5, 5.0, Decimal(5), "5", " 5 ", "5.0", "+5", "0.5e1", "5.", "50E-1"])
def test_what_a_template_renders_is_a_guard(given):
    assert read_guard("max_cost_usd", given, "USD") == 5
    assert read_whole_guard("max_enqueued_tokens", given, "tokens") == 5
