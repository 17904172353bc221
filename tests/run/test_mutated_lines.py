"""100,000 output lines that no provider should have written: no crash, the equation holds, every row is told once.

Valid lines are what the fakes answer to our own wire lines, in the provider's format; then they are spoiled, by bytes
and by fields. The seed is fixed and printed, so that a failure can be seen again.
"""

import json
import random

import orjson
import pytest

from airflow_batch_provider.core.answers import read_answer
from airflow_batch_provider.core.jsonl import BOM
from airflow_batch_provider.core.records import (
    OUTCOMES,
    BatchRequest,
    Job,
    JobError,
    JobStatus,
    Limits,
    ModelRules,
    Shard,
)
from airflow_batch_provider.core.redaction import Redactor
from airflow_batch_provider.dialects.families import CHAT, EMBEDDINGS, bedrock_family, vertex_family
from airflow_batch_provider.dialects.formats import bedrock_format, vertex_format
from airflow_batch_provider.dialects.gateway import gateway_format
from airflow_batch_provider.dialects.openai import OpenAIFormat, read_line
from airflow_batch_provider.run.collect import collect
from airflow_batch_provider.run.shard_files import results
from airflow_batch_provider.run.storage import RunDirectory
from airflow_batch_provider.testing import gateway_lines
from airflow_batch_provider.testing.native import read_native
from airflow_batch_provider.testing.native_claude import read_claude
from airflow_batch_provider.testing.native_gemini import read_gemini, read_gemini_embedding

SEED = 20261121
LINES = 100_000
ROWS = 250
"""Of one job; several jobs make a family's share."""
TEXTS = [
    "plain",
    "",
    "Grüße\u2028\u2029\u0085\ufeff\x7f",
    'a "quoted" \\ one\n\r\ttwo',
    "😀" * 3,
    "\x00\x1f",
    "9" * 500,
]
STATUS = "Bad Request: " + json.dumps({"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}})
NASTY = [b"\n", b"\r", b"\r\n", b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80", "\u2028".encode(), "\u0085".encode()]
NASTY += [b"\xef\xbb\xbf", b"\\ud800", b"\\u0000", b'"', b"\\", b"{", b"}", b"[", b"NaN", b"1e999", b"-", b"  "]


def deep(levels, kind):
    """A value nested so many levels down; beyond some depth readers and writers give up."""
    value = None
    for _ in range(levels):
        value = [value] if kind else {"a": value}
    return value


ODD = [None, True, False, 0, -1, 200, 429, 10**25, -(2**63), 1.5, 1e308, float("nan"), float("inf"), "", "0", "text"]
ODD += ["\ud800", "\u2028", "x" * 5000, [], {}, [[]], [None], {"": None}, {"error": {}}, {"code": None}, ["a", 1]]
ODD += [deep(5, 0), deep(150, 1), deep(260, 0), {"errorCode": "x"}, "{}", "[1", '{"a":1}', STATUS]


def openai_answer(rng, endpoint):
    """What an engine says, in OpenAI's format."""
    used = {"prompt_tokens": rng.randrange(9999), "completion_tokens": rng.randrange(9999), "total_tokens": 5}
    answer = {"id": f"a{rng.randrange(10**9)}", "model": "m", "usage": used}
    if endpoint == EMBEDDINGS:
        vector = [round(rng.uniform(-1, 1), 6) for _ in range(4)]
        return {**answer, "object": "list", "data": [{"object": "embedding", "index": 0, "embedding": vector}]}
    message = {"role": "assistant", "content": rng.choice(TEXTS), "refusal": None}
    if rng.random() < 0.2:
        function = {"name": "look_up", "arguments": '{"word": "a"}'}
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": rng.choice(["stop", "length"])}
    return {**answer, "object": "chat.completion", "created": 1, "choices": [choice]}


def openai_line(rng, custom_id, endpoint):
    """A row as OpenAI writes it: answered, refused, or out of time."""
    line = {"id": "batch_req_1", "custom_id": custom_id, "response": None, "error": None}
    kind = rng.choices(["good", "busy", "bad", "expired"], [8, 1, 1, 1])[0]
    if kind == "expired":
        line["error"] = {"code": "batch_expired", "message": "This request could not be executed."}
    else:
        status = {"good": 200, "busy": 429, "bad": 400}[kind]
        body = openai_answer(rng, endpoint) if status == 200 else {"error": {"message": kind, "code": status}}
        line["response"] = {"status_code": status, "request_id": "req_1", "body": body}
    return line


class Family:
    """One model on one route: how its lines are written, answered and read."""

    def __init__(self, made, endpoint=CHAT):
        self.format = made
        self.endpoint = endpoint

    def body(self, number):
        if self.endpoint == EMBEDDINGS:
            return {"model": "m", "input": f"text {number}"}
        return {"model": "m", "messages": [{"role": "user", "content": f"say {number}"}], "max_tokens": 9}

    def output(self, rng, wire):
        """The line that comes back, decoded."""
        return openai_line(rng, wire["custom_id"], self.endpoint)


class Bedrock(Family):
    def __init__(self, model, endpoint=CHAT):
        self.model, self.family = model, bedrock_family(model)
        super().__init__(bedrock_format(self.family, model, endpoint), endpoint)

    def output(self, rng, wire):
        if rng.random() < 0.1:
            return {**wire, "error": {"errorCode": rng.choice([400, 429]), "errorMessage": "no", "expired": False}}
        native = read_native(self.model, self.family.invocation, wire["modelInput"])
        return {**wire, "modelOutput": native.write(openai_answer(rng, self.endpoint))}


class Vertex(Family):
    def __init__(self, model, read, endpoint=CHAT):
        self.model, self.read = model, read
        super().__init__(vertex_format(vertex_family(model), model, endpoint), endpoint)

    def output(self, rng, wire):
        if rng.random() < 0.1:
            return {**wire, "status": STATUS, "response": {}}
        native = self.read(self.model, wire["request"])
        return {**wire, "status": "", "response": native.write(openai_answer(rng, self.endpoint))}


class Gateway(Family):
    def __init__(self, provider, model, *writers, endpoint=CHAT):
        self.model, self.writers = model, writers
        super().__init__(gateway_format(provider, model, endpoint), endpoint)

    def output(self, rng, wire):
        line = openai_line(rng, wire["custom_id"], self.endpoint)
        written = rng.choice(self.writers)(line, "job", self.model)
        return {"custom_id": wire["custom_id"]} if written is None else written


def claude_on_vertex(model, request):
    return read_claude(model, model, {**request, "anthropic_version": "bedrock-2023-05-31"})


FAMILIES = {
    "openai chat": lambda: Family(OpenAIFormat("m", CHAT)),
    "openai embeddings": lambda: Family(OpenAIFormat("m", EMBEDDINGS), EMBEDDINGS),
    "bedrock converse": lambda: Bedrock("us.amazon.nova-lite-v1:0"),
    "bedrock claude": lambda: Bedrock("anthropic.claude-3-haiku-20240307-v1:0"),
    "bedrock gpt-oss": lambda: Bedrock("openai.gpt-oss-20b-1:0"),
    "bedrock titan": lambda: Bedrock("amazon.titan-embed-text-v2:0", EMBEDDINGS),
    "vertex gemini": lambda: Vertex("gemini-2.5-flash", read_gemini),
    "vertex embeddings": lambda: Vertex("gemini-embedding-001", read_gemini_embedding, EMBEDDINGS),
    "vertex claude": lambda: Vertex("claude-sonnet-4-5@20250929", claude_on_vertex),
    "vertex open": lambda: Family(vertex_format(vertex_family("gpt-oss-20b"), "gpt-oss-20b", CHAT)),
    "gateway bedrock": lambda: Gateway("bedrock", "anthropic.claude-3-haiku-20240307-v1:0", gateway_lines.bedrock_line),
    "gateway vertex": lambda: Gateway(
        "vertex_ai", "gemini-2.5-flash", gateway_lines.vertex_line, gateway_lines.vertex_raw_line
    ),
    "gateway vertex embeddings": lambda: Gateway(
        "vertex_ai", "gemini-embedding-001", gateway_lines.vertex_raw_line, endpoint=EMBEDDINGS
    ),
}


def again(value):
    """The same value, of its own."""
    return json.loads(json.dumps(value))


def places(value):
    """Every member of every object and list in a value, as ``(where, key)``, the outer ones first."""
    found = []
    waiting = [value]
    for inner in waiting:
        for key, item in inner.items() if isinstance(inner, dict) else enumerate(inner):
            found.append((inner, key))
            if isinstance(item, dict | list):
                waiting.append(item)
    return found


def change_fields(rng, data):
    """Remove, swap or move members."""
    data = again(data)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        known = places(data)
        if not known:
            break
        # Often near the top, where ids and statuses stand.
        where, key = rng.choice(known[:4] if rng.random() < 0.3 else known)
        other, other_key = rng.choice(known)
        match rng.randrange(6):
            case 0:
                del where[key]
            case 1 | 2 | 3:
                where[key] = again(rng.choice(ODD))
            case 4:
                where[key] = again(other[other_key])
            case 5 if isinstance(where, dict):
                where[str(other_key)] = where.pop(key)
            case _:
                where[key] = [where[key]]
    return json.dumps(data, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def change_bytes(rng, line):
    """Flip, cut, double and insert bytes."""
    for _ in range(rng.choice([1, 1, 2, 8])):
        at = rng.randrange(len(line) + 1)
        match rng.randrange(6):
            case 0:
                line = line[:at]
            case 1:
                line = line[:at] + bytes([rng.randrange(256)]) + line[at + 1 :]
            case 2:
                line = line[:at] + rng.choice(NASTY) + line[at:]
            case 3:
                line = line[:at] + line[at + rng.randrange(1, 40) :]
            case 4:
                line = line[:at] + line[max(0, at - rng.randrange(1, 60)) :]
            case 5:
                line = rng.choice(NASTY) + line + rng.choice(NASTY)
    return line


def spoil(rng, data, others):
    """One line, or what became of it."""
    line = orjson.dumps(data)
    match rng.randrange(20):
        case 0:
            return line
        case 1:
            return line + b"\n" + line
        case 2:
            return line + rng.choice([b"", b" ", b",", b"\r"]) + orjson.dumps(rng.choice(others))
        case 3:
            return b"[" * rng.choice([10, 1000, 100_000]) + line
        case 4:
            marked = {**data, rng.choice([*data, "extra"]): "@"}
            levels = rng.choice([250, 253, 254, 500, 1000, 1030])
            return orjson.dumps(marked).replace(b'"@"', b'{"a":' * levels + b"1" + b"}" * levels)
        case 5:
            number = rng.choice([b"9" * 400, b"-1e-999", b"1e999", b"0" * 20, b"NaN", b"-Infinity", b"1_0"])
            return orjson.dumps({**data, rng.choice(list(data)): "@"}).replace(b'"@"', number)
        case 6:
            return line.decode().encode(rng.choice(["utf-16", "utf-32", "latin-1", "utf-8-sig"]), "replace")
        case 7 | 8 | 9 | 10 | 11:
            return change_bytes(rng, line)
        case _:
            return change_fields(rng, data)


class Outputs:
    """As much of a backend as collecting asks."""

    limits = Limits(ROWS, 1 << 30, "a test", (CHAT,))
    price_list = None
    models = ModelRules()
    redactor = Redactor(())

    def __init__(self, family, data, step):
        self.family, self.data, self.step = family, data, step

    def line_format(self, model, endpoint):
        return self.family.format

    def outputs(self, job):
        return (self.data[at : at + self.step] for at in range(0, len(self.data), self.step))


def stage(directory, family, shard):
    """Input and wire files as a run leaves them; the wire lines, decoded."""
    asked = []
    for number in range(ROWS):
        custom_id = f"row {number}" if number % 50 else f"r{number:010d}"
        line = {"custom_id": custom_id, "method": "POST", "url": family.endpoint, "body": family.body(number)}
        asked.append(BatchRequest(custom_id, family.endpoint, "m", line["body"], orjson.dumps(line), number + 1))
    wire = [family.format.encode(request, number) for number, request in enumerate(asked)]
    directory.write(f"input/{shard.name}.jsonl", b"".join(request.raw + b"\n" for request in asked))
    directory.write(f"shards/{shard.name}.jsonl", b"".join(line + b"\n" for line in wire))
    return [request.custom_id for request in asked], [orjson.loads(line) for line in wire]


def refuse_constant(name):
    raise AssertionError(f"{name} is no JSON")


@pytest.mark.parametrize("name", FAMILIES)
def test_mutated_lines_never_cost_a_row(tmp_path, name):
    """Every row has one outcome and one line, which is JSON under the row's own id; every line is accounted for."""
    print(f"seed {SEED}")
    rng = random.Random(f"{SEED} {name}")
    family = FAMILIES[name]()
    directory = RunDirectory(str(tmp_path))
    shard = Shard(0, 0, ROWS, 0, "m", family.endpoint, rewritten=True)
    ids, wire = stage(directory, family, shard)
    spoiled = 0
    succeeded = 0
    while spoiled < LINES / len(FAMILIES):
        good = [family.output(rng, line) for line in wire]
        lines = [spoil(rng, line, good) for line in good]
        spoiled += len(lines)
        rng.shuffle(lines)
        data = b"\n".join(lines) + b"\n"
        job = Job("job", rng.choice([one for one in JobStatus if one.is_terminal]), errors=(JobError("bad"),))
        end = collect(directory, Outputs(family, data, rng.choice([1000, 65536])), shard, job, 0.0)
        assert sum(end.outcomes.get(outcome, 0) for outcome in OUTCOMES) == ROWS == sum(end.outcomes.values())
        told = directory.read(f"collected/{shard.name}.jsonl").split(b"\n")
        assert told.pop() == b""
        assert len(told) == ROWS
        for custom_id, line in zip(ids, told, strict=True):
            result = json.loads(line, parse_constant=refuse_constant)
            assert result.keys() == {"id", "custom_id", "response", "error"}
            assert result["custom_id"] == custom_id
            assert read_answer(read_line(line)).custom_id == custom_id
            orjson.loads(line)
        outcomes = [result.outcome for result in results(directory, shard)]
        assert {one: outcomes.count(one) for one in set(outcomes)} == end.outcomes
        # Pieces of a torn line are one.
        assert len(lines) / 2 < end.lines["received"] <= sum(map(told_something, data.split(b"\n")))
        fitting = end.lines["received"] - sum(end.lines[kind] for kind in ("duplicates", "foreign", "nameless"))
        assert fitting <= ROWS
        assert min(*vars_of(end.usage)) >= 0
        succeeded += end.outcomes.get("succeeded", 0)
    # Spoiled, not destroyed: what can still be read counts.
    assert spoiled / 10 < succeeded < spoiled


def told_something(line):
    return bool(line.removeprefix(BOM).strip(b" \t\r"))


def vars_of(usage):
    return usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens
