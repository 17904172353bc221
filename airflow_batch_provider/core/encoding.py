"""What a file is that is not text in UTF-8, by its first bytes.

Such a file fails on every one of its lines, in the words of a JSON library; one problem that names the kind of the file
and the remedy says more.
"""

from __future__ import annotations

from airflow_batch_provider.core.jsonl import BOM

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    # The four bytes of UTF-32 begin with the two of UTF-16, so they are looked for first.
    (b"\xff\xfe\x00\x00", "text in UTF-32; convert it to UTF-8, e.g. with: iconv -f UTF-32 -t UTF-8"),
    (b"\x00\x00\xfe\xff", "text in UTF-32; convert it to UTF-8, e.g. with: iconv -f UTF-32 -t UTF-8"),
    (b"\xff\xfe", "text in UTF-16; convert it to UTF-8, e.g. with: iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "text in UTF-16; convert it to UTF-8, e.g. with: iconv -f UTF-16 -t UTF-8"),
    (b"PAR1", "a Parquet file; export its rows as JSON Lines"),
    (b"PK\x03\x04", "a ZIP archive (an Excel file is one too); unpack it, or export its rows as text"),
    (b"BZh", "compressed with bzip2; decompress it, or use gzip, which is read as it is"),
    (b"\xfd7zXZ\x00", "compressed with xz; decompress it, or use gzip, which is read as it is"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; decompress it, or use gzip, which is read as it is"),
    (b"Obj\x01", "an Avro file; export its rows as JSON Lines"),
    (b"SQLite format 3\x00", "an SQLite database; export its rows as JSON Lines"),
    (b"%PDF-", "a PDF document; only text with one row a line is read"),
)
_WIDE = (("UTF-32LE", 4, (1, 2, 3)), ("UTF-32BE", 4, (0, 1, 2)), ("UTF-16LE", 2, (1,)), ("UTF-16BE", 2, (0,)))
"""Where ASCII has a NUL in each character of an encoding: every so many bytes, at these places."""
_SAMPLE = 64


def not_text(head: bytes) -> str | None:
    """What a file is instead of text in UTF-8, and the remedy; None where its first bytes do not say.

    :param head: the first bytes of the file, at most its first line.
    """
    for signature, meaning in _SIGNATURES:
        if head.startswith(signature):
            return f"the file is {meaning}"
    sample = head.removeprefix(BOM)[:_SAMPLE]
    if b"\x00" not in sample:
        return None
    for name, step, places in _WIDE:
        if all(_is_nul(sample[place::step]) for place in places):
            return (
                f"the file is text in {name[:-2]} without a byte order mark; convert it to UTF-8, e.g. with: "
                f"iconv -f {name} -t UTF-8"
            )
    return "the file is not text: it holds NUL bytes; only text in UTF-8 is read"


def _is_nul(part: bytes) -> bool:
    return part.count(0) * 4 >= len(part) * 3


def not_utf8(raw: bytes) -> str | None:
    """Where a line is not UTF-8, and the remedy; None where it is."""
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return (
            f"not UTF-8: byte {raw[error.start]:#04x} at byte {error.start + 1} of the line; save the file as UTF-8, "
            "e.g. with: iconv -f WINDOWS-1252 -t UTF-8"
        )
    return None
