"""Lines end at a line feed and nowhere else."""

import gzip
import io

from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.core.jsonl import read_lines, split_chunks

LINE = st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"").replace(b"\r", b""))


def lines(data: bytes) -> list[tuple[int, bytes]]:
    return list(read_lines(io.BytesIO(data)))


def test_unicode_line_separators_do_not_split():
    """U+2028, U+2029, NEL, VT and FF are content, not ends of line."""
    text = '{"a":"x\u2028y\u2029z\u0085\x0b\x0c"}'.encode()
    assert lines(text + b"\n" + text) == [(1, text), (2, text)]
    assert list(split_chunks([text + b"\n" + text])) == [text, text]


def test_bom_crlf_and_missing_last_end_of_line_are_taken_off():
    """A byte order mark and carriage returns never reach a request; a last line needs no end."""
    assert lines(b"\xef\xbb\xbf{}\r\n{1}\r\n{2}") == [(1, b"{}"), (2, b"{1}"), (3, b"{2}")]


def test_blank_lines_keep_their_number():
    """Blank lines are reported, so they are told with their number; an empty file has no line."""
    assert lines(b"a\n\nb\n") == [(1, b"a"), (2, b""), (3, b"b")]
    assert lines(b"") == []


def test_gzip_is_told_by_content():
    """A compressed file is read as what it holds."""
    assert lines(gzip.compress(b"a\nb\n")) == [(1, b"a"), (2, b"b")]


@given(st.lists(LINE.filter(lambda raw: raw.strip(b" \t\r\xef\xbb\xbf")), max_size=20), st.integers(1, 7))
def test_chunk_borders_do_not_matter(wanted, size):
    """Any cut of the same bytes into chunks gives the same lines."""
    data = b"".join(line + b"\n" for line in wanted)
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    assert list(split_chunks(chunks)) == list(split_chunks([data]))
    assert len(list(split_chunks(chunks))) == len(wanted)
