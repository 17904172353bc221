"""Chat lines to Bedrock's Converse and to Gemini, beside a bare loop that builds the same lines by hand.

``python benchmarks/translate.py [--rows 100000]`` prints ratios measured in one process and one run, the best of
several turns each, and the growth of memory. Exits with 1 when a translation is slower than half the bare loop.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from airflow_batch_provider.core.records import BatchRequest
from airflow_batch_provider.dialects.base import LineFormat, token
from airflow_batch_provider.dialects.envelopes import ROW_LABEL
from airflow_batch_provider.dialects.families import CHAT, bedrock_family, vertex_family
from airflow_batch_provider.dialects.formats import bedrock_format, vertex_format

LLAMA, GEMINI = "meta.llama3-1-8b-instruct-v1:0", "gemini-2.5-flash"
TURNS = 3


def lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        yield from stream


def bare_converse(line: Any, position: int) -> Any:
    body = line["body"]
    system, user = body["messages"]
    return {
        "recordId": token(position),
        "modelInput": {
            "messages": [{"role": "user", "content": [{"text": user["content"]}]}],
            "system": [{"text": system["content"]}],
            "inferenceConfig": {"maxTokens": body["max_tokens"], "temperature": body["temperature"]},
        },
    }


def bare_gemini(line: Any, position: int) -> Any:
    body = line["body"]
    system, user = body["messages"]
    row = token(position)
    return {
        "custom_id": row,
        "request": {
            "contents": [{"role": "user", "parts": [{"text": user["content"]}]}],
            "systemInstruction": {"parts": [{"text": system["content"]}]},
            "generationConfig": {"maxOutputTokens": body["max_tokens"], "temperature": body["temperature"]},
            "labels": {ROW_LABEL: row},
        },
    }


def bare(path: Path, build: Callable[[Any, int], Any]) -> int:
    return sum(len(orjson.dumps(build(orjson.loads(raw), number))) for number, raw in enumerate(lines(path)))


def ours(path: Path, line_format: LineFormat, model: str) -> int:
    size = 0
    for number, raw in enumerate(lines(path)):
        line = orjson.loads(raw)
        size += len(line_format.encode(BatchRequest(line["custom_id"], CHAT, model, line["body"], raw, number), number))
    return size


def best(work: Callable[[], int]) -> float:
    seconds = []
    for _ in range(TURNS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    formats = {
        "Bedrock Converse": (bedrock_format(bedrock_family(LLAMA), LLAMA, CHAT), LLAMA, bare_converse),
        "Gemini": (vertex_format(vertex_family(GEMINI), GEMINI, CHAT), GEMINI, bare_gemini),
    }
    worst = 1.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.jsonl"
        with path.open("w") as out:
            for number in range(rows):
                messages = [
                    {"role": "system", "content": "You are a sentiment classifier. Reply in JSON."},
                    {"role": "user", "content": f"Is this review positive or negative?\n\n{number} " + "word " * 140},
                ]
                body = {"model": "m", "messages": messages, "max_tokens": 100, "temperature": 0.0}
                one = {"custom_id": f"row-{number}", "method": "POST", "url": CHAT, "body": body}
                out.write(json.dumps(one) + "\n")
        print(f"{rows:,} lines of {path.stat().st_size // rows} bytes")
        for name, (line_format, model, build) in formats.items():
            first = orjson.loads(next(lines(path)))
            made = line_format.encode(BatchRequest("row-0", CHAT, model, first["body"], b"", 1), 0)
            assert orjson.loads(made) == build(first, 0), (made, build(first, 0))
            before = memory()
            by_hand = best(lambda build=build: bare(path, build))
            seconds = best(lambda f=line_format, m=model: ours(path, f, m))
            ratio = by_hand / seconds
            worst = min(worst, ratio)
            print(
                f"to {name:20}{rows / seconds:>10,.0f} rows/s   {ratio:5.2f} of the bare loop   "
                f"memory +{memory() - before:.1f} MiB"
            )
    return int(worst < 0.5)


if __name__ == "__main__":
    sys.exit(main())
