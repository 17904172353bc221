"""What the demonstration shows at its end: answers beside human labels, and where everything lies."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TABLE = "review_sentiment"
SHOWN = 15
LABELS = ("positive", "negative")


@dataclass(frozen=True, slots=True)
class Answer:
    """One review with the model's answer beside the human label; ``said`` is None where the answer is not as asked."""

    text: str
    said: str | None
    human: str


def report(run_path: Path, database: Path, reviews: Path, *, expect_json: bool) -> int:
    """Print the report.

    :param run_path: the run directory.
    :param database: the SQLite file that holds the table.
    :param reviews: the CSV file with the human ratings.
    :param expect_json: whether every answer must be JSON as the schema asks; an echo is not.
    :return: the exit code; 0 only if every review has a row in the table, and an answer as asked.
    """
    summary = json.loads((run_path / "summary.json").read_text())
    with reviews.open(newline="", encoding="utf-8") as file:
        known = {f"review-{row['id']}": row for row in csv.DictReader(file)}
    contents = _contents(database, summary["run_key"])
    answers = [_answer(review, contents[custom_id]) for custom_id, review in known.items() if custom_id in contents]
    if expect_json:
        _print_table(answers[:SHOWN], len(answers))
    valid = [answer for answer in answers if answer.said]
    right = sum(answer.said == answer.human for answer in valid)
    usage, seconds = summary["usage"], summary["ended_at"] - summary["begun_at"]
    print(f"rows           {len(answers)} of {len(known)} in table {TABLE}")
    if expect_json:
        print(f"valid JSON     {len(valid)} of {len(answers)}")
        print(f"accuracy       {right / max(1, len(answers)):.2f} ({right} of {len(answers)} as the human raters)")
    print(f"tokens         {usage['input_tokens']} in, {usage['output_tokens']} out")
    print(f"batch          {seconds:.1f} s, {len(answers) / max(seconds, 0.001):.1f} rows/s")
    print(f"database       {database}")
    print(f"run directory  {run_path}")
    complete = len(answers) == len(known) and (len(valid) == len(answers) or not expect_json)
    if not complete:
        print("FAILED: not every review has an answer as asked.")
    return 0 if complete else 1


def _contents(database: Path, run_key: str) -> dict[str, str | None]:
    with closing(sqlite3.connect(database)) as connection:
        query = f"SELECT custom_id, content FROM {TABLE} WHERE run_key = ?"  # noqa: S608 - a constant
        return dict(connection.execute(query, [run_key]).fetchall())


def _answer(review: dict[str, str], content: str | None) -> Answer:
    human = "positive" if float(review["rating"]) > 0 else "negative"
    try:
        body: Any = json.loads(content or "")
        said = body["sentiment"] if set(body) == {"sentiment"} and body["sentiment"] in LABELS else None
    except (ValueError, TypeError, KeyError):
        said = None
    return Answer(review["text"], said, human)


def _print_table(answers: list[Answer], total: int) -> None:
    width = 76
    print(f"\n{'review':{width}}  {'answer':8}  human")
    print(f"{'-' * width}  {'-' * 8}  {'-' * 8}")
    for answer in answers:
        text = answer.text if len(answer.text) <= width else answer.text[: width - 3] + "..."
        print(f"{text:{width}}  {answer.said or '?':8}  {answer.human}{'' if answer.said == answer.human else '  (!)'}")
    if total > len(answers):
        print(f"... and {total - len(answers)} more")
    print()
