"""What one row and one job may hold, counted as the provider counts: bytes, lines, texts to embed, tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from airflow_batch_provider.core.errors import Problem
from airflow_batch_provider.core.estimating import written_tokens
from airflow_batch_provider.core.records import BatchRequest, Limits

EMBEDDINGS = "/v1/embeddings"


def job_limits(endpoint: str, limits: Limits) -> Limits:
    """What one job of an endpoint may hold; with its rows, where texts to embed are counted, the texts."""
    if endpoint != EMBEDDINGS or limits.max_texts is None:
        return limits
    return replace(limits, max_rows=min(limits.max_rows, limits.max_texts))


def counted_lines(request: BatchRequest, wire: bytes, limits: Limits) -> int:
    """How much of a job's limit of rows a row uses: its wire lines, or its texts where these are counted."""
    lines = wire.count(b"\n") + 1
    if request.endpoint != EMBEDDINGS or limits.max_texts is None:
        return lines
    return max(lines, texts_of(request.body))


def texts_of(body: dict[str, Any]) -> int:
    """How many texts an embeddings request holds; numbers of tokens are one text, lists of them several."""
    given = body.get("input")
    if not isinstance(given, list) or not given or isinstance(given[0], int):
        return 1
    return len(given)


def too_large(request: BatchRequest, wire: bytes, limits: Limits) -> Problem | None:
    """What is wrong with a row that no job can take."""
    number, size, lines = request.line, len(wire) + 1, wire.count(b"\n") + 1
    if size > limits.max_bytes:
        return Problem(
            number, "", f"{size:,} bytes; a file may have at most {limits.max_bytes:,} bytes; shorten the request"
        )
    if lines > limits.max_rows:
        most = f"a file may have at most {limits.max_rows:,}; write more rows with fewer texts each"
        return Problem(number, "body.input", f"this row becomes {lines:,} lines at the provider; {most}")
    if request.endpoint == EMBEDDINGS and (message := _too_much_to_embed(request.body, limits)):
        return Problem(number, "body.input", f"{message} ({limits.source}); write more rows with fewer texts each")
    return None


def _too_much_to_embed(body: dict[str, Any], limits: Limits) -> str | None:
    texts, tokens = texts_of(body), written_tokens(body)
    if limits.max_row_texts is not None and texts > limits.max_row_texts:
        return f"{texts:,} texts; the provider accepts {limits.max_row_texts:,} per request"
    if limits.max_row_tokens is not None and tokens > limits.max_row_tokens:
        return f"{tokens:,} tokens; the provider accepts {limits.max_row_tokens:,} per request"
    return None


def likely_too_long(request: BatchRequest, likely: int, limits: Limits) -> str | None:
    """A warning for texts that look like more tokens than a request may have; only the provider can count them.

    :param likely: its input tokens, generously counted: a third of them is the least for ordinary text.
    """
    if request.endpoint != EMBEDDINGS or limits.max_row_tokens is None or likely / 3 <= limits.max_row_tokens:
        return None
    return (
        f"line {request.line}: about {likely // 3:,} tokens or more to embed; the provider accepts "
        f"{limits.max_row_tokens:,} per request and will likely reject the row (reported once)"
    )
