"""Output lines stay whole for readers that know more ends of line than the line feed."""

from __future__ import annotations

from pathlib import Path

from tests.local.serving import jsonl, lines_of, request, served, submit, wait

SEPARATORS = "a\u0085b\u2028c\u2029d\x0b\x0c\x1c\x1d\x1ee"


def test_no_line_is_torn(tmp_path: Path) -> None:
    """``str.splitlines`` finds as many lines as there are rows, in both files, and the text is intact."""
    good, bad = request("good", SEPARATORS), request(f"bad {SEPARATORS}", stream=True)
    with served(tmp_path) as client:
        batch = wait(client, submit(client, jsonl([good, bad])).id)
        for file_id in (batch.output_file_id, batch.error_file_id):
            assert len(client.files.content(file_id).text.splitlines()) == 1
        (answered,), (failed,) = lines_of(client, batch.output_file_id), lines_of(client, batch.error_file_id)
    assert answered["response"]["body"]["choices"][0]["message"]["content"] == SEPARATORS
    assert failed["custom_id"] == bad["custom_id"]
