"""OpenAI's lines for gateways that translate them: nothing that is asked gets lost on the way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.core.errors import ConfigurationError, UntranslatableError
from airflow_batch_provider.core.records import BatchRequest
from airflow_batch_provider.dialects.base import token
from airflow_batch_provider.dialects.gateway import gateway_format

CHAT = "/v1/chat/completions"
EMBED = "/v1/embeddings"
CLAUDE = "anthropic.claude-3-5-sonnet-20240620-v1:0"
LLAMA = "us.meta.llama3-1-8b-instruct-v1:0"
MISTRAL = "mistral.mistral-7b-instruct-v0:2"
GEMINI = "gemini-2.5-flash"
CLAUDE_ON_VERTEX = "claude-3-5-haiku"
WAYS = [("bedrock", CLAUDE), ("bedrock", LLAMA), ("bedrock", MISTRAL), ("vertex_ai", GEMINI)]
WAYS += [("vertex_ai", CLAUDE_ON_VERTEX)]
USER = [{"role": "user", "content": "hello"}]
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
TOOL = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}},
}


def encode(provider: Any, model: str, *, endpoint: str = CHAT, **body: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """The wire body, and the notes."""
    line_format = gateway_format(provider, model, endpoint)
    request = BatchRequest("x", endpoint, model, {"model": model, **body}, b"", 1)
    before = json.dumps(request.body)
    wire = line_format.encode(request, 7)
    assert json.dumps(request.body) == before, "the author's body stays as it is"
    assert wire.isascii()
    assert b"\n" not in wire
    assert b"\r" not in wire
    assert line_format.row_of(wire) == token(7)
    line = json.loads(wire)
    assert set(line) == {"custom_id", "method", "url", "body"}
    return line["body"], line_format.notes


def refused(provider: Any, model: str, *, endpoint: str = CHAT, **body: Any) -> str:
    """The refusal of a row, with its field."""
    with pytest.raises(UntranslatableError) as caught:
        encode(provider, model, endpoint=endpoint, **body)
    return str(caught.value)


# ---- messages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("provider", "model"), WAYS)
def test_one_system_message_in_front(provider: str, model: str) -> None:
    """Several and late system and developer messages become one plain string, in their order."""
    messages = [
        {"role": "user", "content": "hé"},
        {"role": "developer", "content": "a"},
        {"role": "system", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]},
    ]
    body, _ = encode(provider, model, messages=messages)
    if model == MISTRAL:
        # Portkey would say the user's words twice.
        assert body["messages"] == [{"role": "user", "content": "a\n\nb\n\nc\nhé"}]
    else:
        assert body["messages"] == [{"role": "system", "content": "a\n\nb\n\nc"}, {"role": "user", "content": "hé"}]


@pytest.mark.parametrize(("provider", "model"), [("bedrock", CLAUDE), ("vertex_ai", CLAUDE_ON_VERTEX)])
def test_turns_of_claude(provider: str, model: str) -> None:
    """Of an assistant's parts Portkey reads the first, and empty arguments break its whole upload."""
    messages = [
        *USER,
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            "tool_calls": [CALL],
        },
        {
            "role": "tool",
            "tool_call_id": "c1",
            "content": [{"type": "text", "text": "it "}, {"type": "text", "text": "rains"}],
        },
        {"role": "user", "content": [{"type": "text", "text": "look"}, IMAGE]},
    ]
    body, _ = encode(provider, model, messages=messages, tools=[TOOL])
    _, assistant, tool, user = body["messages"]
    assert assistant["content"] == "ab"
    assert assistant["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}
    assert (tool["role"], tool["tool_call_id"], tool["content"]) == ("tool", "c1", "it rains")
    assert user["content"] == [{"type": "text", "text": "look"}, IMAGE]


@pytest.mark.parametrize("model", [LLAMA, MISTRAL])
def test_prompts(model: str) -> None:
    """Portkey makes one prompt of plain strings; of Mistral's parts it would make "[object Object]"."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [{"role": "user", "content": parts}, {"role": "assistant", "content": "c"}, *USER]
    body, _ = encode("bedrock", model, messages=messages)
    assert [message["content"] for message in body["messages"]] == ["a\nb", "c", "hello"]


def test_results_of_several_calls() -> None:
    """Claude wants them in one turn, which Portkey does not make."""
    calls = [{**CALL, "id": name} for name in ("c1", "c2")]
    results = [{"role": "tool", "tool_call_id": name, "content": "x"} for name in ("c1", "c2")]
    messages = [*USER, {"role": "assistant", "tool_calls": calls}, *results]
    told = refused("bedrock", CLAUDE, messages=messages, tools=[TOOL])
    assert told.startswith("body.messages[3]:")
    assert "use a bedrock_batch connection" in told


def test_calls_on_gemini() -> None:
    """Portkey names every result the same, so a conversation with calls is refused."""
    messages = [
        *USER,
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "x"},
    ]
    told = refused("vertex_ai", GEMINI, messages=messages, tools=[TOOL])
    assert "gateway-tool-filler-name" in told
    assert "vertex_ai_batch" in told


@pytest.mark.parametrize(("provider", "model"), WAYS)
def test_images(provider: str, model: str) -> None:
    """An image elsewhere is lost on the way; one in the line goes with Claude and Gemini, in its shortest form."""
    far = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    assert "body.messages[0].content[0]" in refused(provider, model, messages=[{"role": "user", "content": [far]}])
    near = {"type": "image_url", "image_url": {"url": "data:image/png;charset=x;base64,aGk=", "detail": "auto"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "q"}, near]}]
    if model in (LLAMA, MISTRAL):
        assert "text only" in refused(provider, model, messages=messages)
    else:
        assert encode(provider, model, messages=messages)[0]["messages"][0]["content"][1] == IMAGE


@pytest.mark.parametrize(("provider", "model"), WAYS)
def test_files(provider: str, model: str) -> None:
    """Portkey leaves files out."""
    part = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "read"}, part]}]
    assert "body.messages[0].content[1]" in refused(provider, model, messages=messages)


# ---- fields --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("provider", "model"), WAYS)
def test_spellings(provider: str, model: str) -> None:
    """The newer spelling of the limit becomes the older one; a stop is a list."""
    body, _ = encode(provider, model, messages=USER, max_completion_tokens=5, max_tokens=9, temperature=0.5)
    assert (body["max_tokens"], body["temperature"], "max_completion_tokens" in body) == (5, 0.5, False)
    if model == LLAMA:
        assert "body.stop" in refused(provider, model, messages=USER, stop="x")
    else:
        assert encode(provider, model, messages=USER, stop="x")[0]["stop"] == ["x"]
        assert encode(provider, model, messages=USER, stop=["x", "y"])[0]["stop"] == ["x", "y"]


@pytest.mark.parametrize(("provider", "model"), WAYS)
def test_claudes_limit(provider: str, model: str) -> None:
    """Claude requires one and the gateway has no default: ours is written, and told."""
    body, notes = encode(provider, model, messages=USER)
    is_claude = "claude" in model
    assert body.get("max_tokens") == (4096 if is_claude else None)
    assert ("body.max_tokens" in notes) is is_claude


@pytest.mark.parametrize(("provider", "model"), WAYS)
def test_cosmetic_fields(provider: str, model: str) -> None:
    """What changes no answer is left out and noted; values that say nothing are left out silently."""
    quiet = {
        "n": 1,
        "logprobs": False,
        "stream": False,
        "parallel_tool_calls": True,
        "response_format": {"type": "text"},
    }
    body, notes = encode(provider, model, messages=USER, user="u", metadata={"a": "b"}, store=True, seed=None, **quiet)
    assert set(body) <= {"model", "messages", "max_tokens"}
    assert set(notes) - {"body.max_tokens"} == {"body.user", "body.metadata", "body.store"}


@pytest.mark.parametrize(("provider", "model"), WAYS)
@pytest.mark.parametrize("field", [{"n": 2}, {"logprobs": True}, {"functions": [{}]}, {"unheard_of": 1}])
def test_what_changes_the_meaning(provider: str, model: str, field: dict[str, Any]) -> None:
    """No equivalent, no silence: the field is named."""
    told = refused(provider, model, messages=USER, **field)
    assert told.startswith(f"body.{next(iter(field))}")


@pytest.mark.parametrize("field", [{"response_format": {"type": "json_object"}}, {"parallel_tool_calls": False}])
@pytest.mark.parametrize("way", [("bedrock", CLAUDE), ("vertex_ai", CLAUDE_ON_VERTEX)])
def test_what_only_the_gateway_loses(way: tuple[str, str], field: dict[str, Any]) -> None:
    """Where a direct connection could, the refusal says so."""
    told = refused(*way, messages=USER, tools=[TOOL], **field)
    assert "the gateway silently drops it" in told
    assert f"{way[0]}_batch" in told


def test_reasoning_effort() -> None:
    """Portkey drops it on Bedrock."""
    model = "anthropic.claude-sonnet-4-20250514-v1:0"
    assert "body.reasoning_effort" in refused("bedrock", model, messages=USER, reasoning_effort="low", max_tokens=9000)


def test_fields_of_gemini() -> None:
    """Portkey translates them."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False, "$schema": "x"}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    body, _ = encode("vertex_ai", GEMINI, messages=USER, seed=3, top_k=4, response_format=wanted)
    assert (body["seed"], body["top_k"], body["response_format"]) == (3, 4, wanted)
    assert encode("vertex_ai", GEMINI, messages=USER, tools=[TOOL])[0]["tools"] == [TOOL]


# ---- tools and schemas ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("provider", "model"), [("bedrock", CLAUDE), ("vertex_ai", CLAUDE_ON_VERTEX)])
def test_tools_of_claude(provider: str, model: str) -> None:
    """Of a schema Portkey keeps type, properties and required; what else would matter is refused."""
    plain, _ = encode(provider, model, messages=USER, tools=[TOOL], tool_choice="required")
    assert (plain["tools"], plain["tool_choice"]) == ([TOOL], "required")
    strict = {"type": "function", "function": {**TOOL["function"], "strict": True}}
    assert "body.tools" in encode(provider, model, messages=USER, tools=[strict])[1]
    parameters = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "string"}}}
    defined = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    told = refused(provider, model, messages=USER, tools=[defined])
    assert told.startswith("body.tools[0].function.parameters.$defs")


def test_tool_choice_none() -> None:
    """Portkey makes null of it, which means auto: the tools go instead, unless the conversation needs them."""
    body, _ = encode("bedrock", CLAUDE, messages=USER, tools=[TOOL], tool_choice="none")
    assert not {"tools", "tool_choice"} & set(body)
    messages = [
        *USER,
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "x"},
    ]
    assert "body.tool_choice" in refused("bedrock", CLAUDE, messages=messages, tools=[TOOL], tool_choice="none")
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [TOOL]}}
    assert "body.tool_choice" in refused("bedrock", CLAUDE, messages=USER, tools=[TOOL], tool_choice=allowed)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "string"}}},
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {"a": {"type": ["string", "null"]}}},
        {"type": "object", "properties": {"a b": {"type": "string"}}},
    ],
)
def test_schemas_that_gemini_could_not_import(schema: dict[str, Any]) -> None:
    """Portkey hands them on as they are, and one of them fails the whole file."""
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    assert "body.tools[0]" in refused("vertex_ai", GEMINI, messages=USER, tools=[tool])
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert "body.response_format" in refused("vertex_ai", GEMINI, messages=USER, response_format=wanted)


def test_variants_are_those_of_our_own_lines() -> None:
    """Two schemas may not share a file, whoever writes its lines."""
    line_format = gateway_format("vertex_ai", GEMINI, CHAT)

    def variant(kind: str) -> int:
        schema = {"type": "object", "properties": {"a": {"type": kind}}}
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        body = {"model": GEMINI, "messages": USER, "response_format": wanted}
        return line_format.variant(BatchRequest("x", CHAT, GEMINI, body, b"", 1))

    assert [variant("string"), variant("integer"), variant("string")] == [1, 2, 1]


# ---- models and endpoints ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        "amazon.nova-lite-v1:0",
        "meta.llama4-scout-17b-instruct-v1:0",
        "openai.gpt-oss-20b-1:0",
        "qwen.qwen3-32b-v1:0",
        "deepseek.v3-v1:0",
        "cohere.command-r-v1:0",
        "ai21.jamba-1-5-mini-v1:0",
    ],
)
def test_models_on_bedrock_that_no_gateway_can_write(model: str) -> None:
    """Portkey has the wrong body for them, or none."""
    with pytest.raises(ConfigurationError, match="use a bedrock_batch connection"):
        gateway_format("bedrock", model, CHAT)


@pytest.mark.parametrize(
    "model", ["meta/llama-4-maverick-17b-128e-instruct-maas", "openai/gpt-oss-20b-maas", "qwen3-x"]
)
def test_open_models_on_vertex(model: str) -> None:
    """Vertex AI wants OpenAI's own lines for them, which Portkey does not leave as they are."""
    with pytest.raises(ConfigurationError, match="vertex_ai_batch"):
        gateway_format("vertex_ai", model, CHAT)


def test_private_names() -> None:
    """An ARN tells no family; the connection does."""
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
    with pytest.raises(ConfigurationError, match="model_families"):
        gateway_format("bedrock", arn, CHAT)
    assert gateway_format("bedrock", arn, CHAT, {arn: "claude-4"})


@pytest.mark.parametrize(
    ("provider", "endpoint"), [("bedrock", EMBED), ("bedrock", "/v1/responses"), ("vertex_ai", EMBED)]
)
def test_endpoints(provider: Any, endpoint: str) -> None:
    """A model is asked only what it serves and the gateway writes."""
    with pytest.raises(ConfigurationError):
        gateway_format(provider, CLAUDE if provider == "bedrock" else GEMINI, endpoint)


# ---- embeddings ----------------------------------------------------------------------------------------------------


def test_embeddings() -> None:
    """One text a row; Portkey joins several to one and keeps nothing else."""
    model = "gemini-embedding-001"
    body, notes = encode("vertex_ai", model, endpoint=EMBED, input=["hi"], encoding_format="float", user="u")
    assert (body, set(notes)) == ({"model": model, "input": "hi"}, {"body.user"})
    for field in ({"dimensions": 8}, {"encoding_format": "base64"}, {"task_type": "CLUSTERING"}):
        assert f"body.{next(iter(field))}" in refused("vertex_ai", model, endpoint=EMBED, input="hi", **field)
    assert "body.input" in refused("vertex_ai", model, endpoint=EMBED, input=[1, 2])


def test_several_texts_are_several_lines() -> None:
    """A list of texts is one line for each, for Portkey joins them to one text otherwise."""
    model = "gemini-embedding-001"
    made = gateway_format("vertex_ai", model, EMBED)
    wire = made.encode(BatchRequest("x", EMBED, model, {"model": model, "input": ["a", "b"]}, b"", 1), 5)
    lines = [json.loads(line) for line in wire.split(b"\n")]
    assert [(line["custom_id"], line["body"]["input"]) for line in lines] == [(token(5), "a"), (token(6), "b")]


@given(
    st.sampled_from(WAYS),
    st.lists(st.tuples(st.sampled_from(["system", "developer", "user"]), st.text(min_size=1)), min_size=1, max_size=6),
)
def test_no_text_is_lost(way: tuple[Any, str], said: list[tuple[str, str]]) -> None:
    """Whatever the messages hold, all of their text arrives, each role's in its order, and in ASCII."""
    messages = [{"role": role, "content": f"<{text}>"} for role, text in [*said, ("user", "end")]]
    body, _ = encode(*way, messages=messages)
    arrived = [message["content"] for message in body["messages"]]
    instructions = "\n\n".join(one["content"] for one in messages if one["role"] != "user")
    words = [one["content"] for one in messages if one["role"] == "user"]
    if instructions and way[1] == MISTRAL:
        words[0] = f"{instructions}\n{words[0]}"
        instructions = ""
    assert arrived == [*([instructions] if instructions else []), *words]


def test_facts_of_the_model_behind() -> None:
    """B2 to B4: what the model behind refuses is refused, or not sent, through a gateway, too."""
    for provider, model in (("bedrock", "us.anthropic.claude-opus-5-5"), ("vertex_ai", "claude-sonnet-5-5")):
        told = refused(provider, model, messages=USER, tools=[TOOL], tool_choice="required")
        assert "body.tool_choice" in told
    assert "thinking off" in refused("vertex_ai", "claude-opus-5", messages=USER, tools=[TOOL], tool_choice="required")
    opus = "us.anthropic.claude-opus-4-1-20250805-v1:0"
    assert "not both" in refused("bedrock", opus, messages=USER, temperature=0.2, top_p=0.9)
    body, notes = encode("bedrock", opus, messages=USER, temperature=0.2, top_p=1, max_tokens=90_000)
    assert (body["temperature"], body["max_tokens"]) == (0.2, 32_000)
    assert "top_p" not in body
    assert {"body.top_p", "body.max_tokens"} <= set(notes)
    body, _ = encode("bedrock", "us.anthropic.claude-opus-5", messages=USER, temperature=1)
    assert "temperature" not in body
    assert body["max_tokens"] == 32_768
