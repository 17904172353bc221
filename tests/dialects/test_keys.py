"""B10: no key at any depth of a request vanishes in translation.

``pytest -s tests/dialects/test_keys.py`` prints what becomes of the keys, by dialect.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import orjson
import pytest

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON, BatchRequest
from airflow_batch_provider.dialects.base import LineFormat
from airflow_batch_provider.dialects.families import CHAT, EMBEDDINGS, bedrock_family, vertex_family
from airflow_batch_provider.dialects.formats import bedrock_format, vertex_format
from airflow_batch_provider.dialects.gateway import gateway_format
from airflow_batch_provider.dialects.openai import OpenAIFormat
from tests.dialects.sdk_keys import DEFAULTS, PAIRED, Case, chat_cases, embedding_cases

CHAT_MODELS = [
    "openai gpt-4.1-mini",
    "bedrock anthropic.claude-haiku-4-5-20251001-v1:0",
    "bedrock anthropic.claude-3-haiku-20240307-v1:0",
    "bedrock us.meta.llama3-2-11b-instruct-v1:0",
    "bedrock mistral.mistral-large-3-675b-instruct",
    "bedrock amazon.nova-lite-v1:0",
    "bedrock us.amazon.nova-2-lite-v1:0",
    "bedrock qwen.qwen3-32b-v1:0",
    "vertex_ai claude-haiku-4-5",
    "vertex_ai gemini-2.5-flash",
    "vertex_ai gemini-3-flash-preview",
    "vertex_ai meta/llama-3.3-70b-instruct-maas",
    "gateway/bedrock anthropic.claude-3-5-sonnet-20240620-v1:0",
    "gateway/bedrock us.meta.llama3-1-8b-instruct-v1:0",
    "gateway/bedrock mistral.mistral-7b-instruct-v0:2",
    "gateway/vertex_ai gemini-2.5-flash",
    "gateway/vertex_ai claude-3-5-haiku",
]
EMBEDDING_MODELS = [
    "openai text-embedding-3-small",
    "bedrock amazon.titan-embed-text-v2:0",
    "bedrock cohere.embed-english-v3",
    "bedrock cohere.embed-v4:0",
    "vertex_ai gemini-embedding-001",
    "vertex_ai text-embedding-005",
    "gateway/vertex_ai gemini-embedding-001",
]
CHAT_CASES = list(chat_cases())
EMBEDDING_CASES = list(embedding_cases())


def line_format(name: str, endpoint: str) -> LineFormat:
    provider, model = name.split(" ")
    if provider == "openai":
        return OpenAIFormat(None, endpoint)
    if provider == "bedrock":
        return bedrock_format(bedrock_family(model), model, endpoint)
    if provider == "vertex_ai":
        return vertex_format(vertex_family(model), model, endpoint)
    return gateway_format("bedrock" if provider.endswith("bedrock") else "vertex_ai", model, endpoint)


@dataclass(frozen=True)
class Outcome:
    """What became of a body.

    :param lines: what would be sent, None where it was refused.
    :param named: the paths of notes, or of the refusal, without indexes.
    """

    lines: bytes | None
    named: tuple[str, ...]
    text: str


def outcome(name: str, endpoint: str, body: JSON) -> Outcome:
    made = line_format(name, endpoint)
    raw = orjson.dumps({"custom_id": "a", "method": "POST", "url": endpoint, "body": body})
    request = BatchRequest("a", endpoint, "m", orjson.loads(raw)["body"], raw, 1)
    try:
        made.variant(request)
        lines = made.encode(request, 0)
    except UntranslatableError as error:
        return Outcome(None, (error.field,), str(error))
    return Outcome(lines, tuple(made.notes), str(made.notes))


def names(path: str, told: str) -> bool:
    """Whether a path is named by itself, by what is around it or in it, or by the type of an object around it."""
    path, told = f"body.{path}", re.sub(r"\[\d+\]", "[]", told)
    if told in ("body", "body.messages") and path != told:
        return False
    around = re.sub(r"\.(type|role)$", "", told)
    return told == path or told.startswith((f"{path}.", f"{path}[")) or path.startswith((f"{around}.", f"{around}["))


def refused_around(path: str, told: str) -> bool:
    """Whether a refusal of another key takes this one along: its part is refused, or what its message answers."""
    told = re.sub(r"\[\d+\]", "[]", told)
    around = told.rpartition(".")[0]
    if around != "body" and f"body.{path}".startswith((f"{around}.", f"{around}[")):
        return True
    return (told == "body.messages[].tool_calls" and path.startswith("messages")) or (
        told.startswith("body.tools") and path.startswith("tool_choice")
    )


def verdict(name: str, endpoint: str, case: Case, number: int) -> str:
    """``translated``, ``warned``, ``refused``, ``default`` or ``vanished``."""
    found = outcome(name, endpoint, case.bodies[number])
    if any(names(case.path, told) for told in found.named):
        return "refused" if found.lines is None else "warned"
    if found.lines is None and refused_around(case.path, found.named[0]):
        return "refused"
    if found.lines is None:
        return f"vanished: refused for something else: {found.text}"
    if matters(name, endpoint, case, number, found):
        return "translated"
    if case.path in PAIRED and "not the id of a call" in outcome(name, endpoint, mispaired(case.bodies[number])).text:
        return "translated"
    if case.values[number] in DEFAULTS.get(case.path, ()):
        return "default"
    if case.without is None and len(case.values) == 1:
        return "translated"  # Needed, and of one value: it says which of several objects this is, or holds the others.
    return f"vanished without a word: {case.values[number]!r}"


def mispaired(body: JSON) -> JSON:
    """The body with a result that answers none of its calls."""
    messages = [{**one, "tool_call_id": "none"} if one["role"] == "tool" else one for one in body["messages"]]
    return {**body, "messages": messages}


def matters(name: str, endpoint: str, case: Case, number: int, found: Outcome) -> bool:
    """Whether what is sent depends on the key."""
    others = [body for index, body in enumerate(case.bodies) if index != number]
    others += [] if case.without is None else [case.without]
    return any(outcome(name, endpoint, body).lines != found.lines for body in others)


def tally(name: str, endpoint: str, cases: list[Case]) -> tuple[Counter[str], list[str]]:
    counts: Counter[str] = Counter()
    lost = []
    for case in cases:
        found = [verdict(name, endpoint, case, number) for number in range(len(case.bodies))]
        lost += [f"{case.path}: {one}" for one in found if one.startswith("vanished")]
        kinds = [kind for kind in ("refused", "warned", "translated", "default") if kind in found]
        counts[kinds[-1] if kinds == ["default"] else kinds[0] if kinds else "vanished"] += 1
    return counts, lost


def check(name: str, endpoint: str, cases: list[Case]) -> None:
    counts, lost = tally(name, endpoint, cases)
    print(
        f"\n{name:60}{len(cases):4} keys: {counts['translated']:3} translated, {counts['warned']:3} warned about, "
        f"{counts['refused']:3} refused, {counts['default']:2} ask for what is done anyway"
    )
    assert not lost, "\n".join(lost)
    assert sum(counts.values()) == len(cases)


def test_the_types_are_walked_whole() -> None:
    """B10: the walk reaches what is deepest in the SDK's types."""
    paths = {case.path for case in CHAT_CASES}
    assert len(paths) > 100
    assert paths >= {
        "messages[].content[].image_url.detail",
        "messages[].content[].prompt_cache_breakpoint.ttl",
        "messages[].tool_calls[].function.arguments",
        "response_format.json_schema.strict",
        "tools[].custom.format.grammar.syntax",
        "tool_choice.allowed_tools.tools",
        "web_search_options.user_location.approximate.city",
        "prediction.content[].text",
    }


@pytest.mark.parametrize("name", CHAT_MODELS)
def test_no_key_of_chat_vanishes(name: str) -> None:
    """B10: each key that the openai SDK's types know is written, noted or refused, for every value."""
    check(name, CHAT, CHAT_CASES)


@pytest.mark.parametrize("name", EMBEDDING_MODELS)
def test_no_key_of_embeddings_vanishes(name: str) -> None:
    """B10: each key of the SDK's embeddings request is written, noted or refused, for every value."""
    check(name, EMBEDDINGS, EMBEDDING_CASES)
