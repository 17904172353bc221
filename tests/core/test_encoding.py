"""A file that is no text in UTF-8 is one problem that names what it is (A20); a line that is not UTF-8 says where."""

import bz2
import gzip
import json
import lzma
import zipfile
from io import BytesIO

import pytest

from airflow_batch_provider.core.encoding import not_text, not_utf8
from airflow_batch_provider.core.errors import InputError
from airflow_batch_provider.core.rows import read_rows
from tests.core.test_validation import GOOD, check

LINES = "\n".join(json.dumps({**GOOD, "custom_id": f"Zürich-{number}"}, ensure_ascii=False) for number in range(50))


def zipped():
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("in.jsonl", LINES)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "kind", "remedy"),
    [
        (LINES.encode("utf-16"), "UTF-16", "iconv -f UTF-16 -t UTF-8"),
        (LINES.encode("utf-16-be"), "UTF-16 without", "iconv -f UTF-16BE"),
        (LINES.encode("utf-16-le"), "UTF-16 without", "iconv -f UTF-16LE"),
        (LINES.encode("utf-32"), "UTF-32", "iconv -f UTF-32 -t UTF-8"),
        (LINES.encode("utf-32-le"), "UTF-32 without", "iconv -f UTF-32LE"),
        (b"PAR1" + b"\x15\x04" * 200, "Parquet", "JSON Lines"),
        (zipped(), "ZIP", "unpack"),
        (bz2.compress(LINES.encode()), "bzip2", "gzip"),
        (lzma.compress(LINES.encode()), "xz", "gzip"),
        (b"\x28\xb5\x2f\xfd" + b"\x04" * 90, "zstd", "gzip"),
        (b"\x7fELF\x02\x01\x00" + b"\x00\x01\x02\x03" * 40, "NUL", "UTF-8"),
    ],
)
def test_a_file_of_another_kind_is_one_problem(data, kind, remedy):
    report = check(*data.split(b"\n"))
    assert (report.problem_count, report.problems[0].line) == (1, None)
    assert kind in report.problems[0].message
    assert remedy in report.problems[0].message


@pytest.mark.parametrize("text", ["", "{}", "\ufeff{}", '{"a": "\u2028 日本語 🎈"}', "id,text\n1,é"])
def test_text_in_utf_8_is_text(text):
    assert not_text(text.encode()) is None
    assert not_utf8(text.encode()) is None


def test_a_line_in_latin_1_says_where_and_how_to_convert():
    line = json.dumps({**GOOD, "custom_id": "Zürich"}, ensure_ascii=False).encode("latin-1")
    report = check(GOOD, line)
    assert (report.problem_count, report.problems[0].line) == (1, 2)
    assert "not UTF-8: byte 0xfc at byte 17 of the line" in report.problems[0].message
    assert "surrogates" not in report.problems[0].message


@pytest.mark.parametrize("source_format", ["csv", "jsonl"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_authors_own_table_in_utf_16_is_one_problem_too(source_format, encoding, pack):
    data = pack("id,text\n1,hello\n".encode(encoding))
    with pytest.raises(InputError, match=r"rows: 1 problem.*\n.*text in UTF-.*iconv"):
        list(read_rows(BytesIO(data), "rows", source_format))
