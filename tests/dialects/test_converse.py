"""The Converse dialect: requests as botocore's model has them, answers as OpenAI's."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.converse import Converse
from airflow_batch_provider.dialects.dialect import Failure
from airflow_batch_provider.dialects.families import bedrock_family
from airflow_batch_provider.dialects.options import JSON_ONLY
from tests.dialects import laws
from tests.dialects.sdk_schemas import valid_converse

NOVA = "us.amazon.nova-lite-v1:0"
LLAMA = "meta.llama3-1-70b-instruct-v1:0"
MISTRAL = "mistral.mistral-large-3-675b-instruct"
HELLO: list[JSON] = [{"role": "user", "content": "Hello"}]


def dialect(model: str = NOVA) -> Converse:
    return Converse(bedrock_family(model, {NOVA: "nova-converse"}), model)


def request(model: str = NOVA, messages: list[JSON] | None = None, **options: Any) -> JSON:
    """The request for a body, checked against botocore's model."""
    made = laws.translated(dialect(model), {"messages": messages or HELLO, **options})
    valid_converse(made)
    return made


def refused(field: str, model: str = NOVA, messages: list[JSON] | None = None, **options: Any) -> str:
    """The message with which a body is refused for a field."""
    with pytest.raises(UntranslatableError) as caught:
        dialect(model).request({"messages": messages or HELLO, **options})
    assert caught.value.field == f"body.{field}"
    return caught.value.message


def image(url: str) -> list[JSON]:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]


def file(kind: str, name: str, data: str = "aGVsbG8=") -> JSON:
    return {"type": "file", "file": {"filename": name, "file_data": f"data:{kind};base64,{data}"}}


def answer(content: Any, stop: str = "end_turn", **usage: Any) -> JSON:
    """The choice of the answer to a Converse response."""
    counts = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15, **usage}
    output = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": stop, "usage": counts}
    found = dialect().answer(output)
    assert isinstance(found, dict)
    return {**found["choices"][0], "usage": found["usage"]}


# ---- messages --------------------------------------------------------------------------------------------------------


def test_plain() -> None:
    """A plain chat line becomes one user turn and nothing else."""
    assert request() == {"messages": [{"role": "user", "content": [{"text": "Hello"}]}]}


def test_system_messages_anywhere() -> None:
    """Every system and developer message arrives, in order, late ones and lists of parts too."""
    made = request(
        messages=[
            {"role": "system", "content": "one"},
            {"role": "user", "content": "Hello"},
            {"role": "developer", "content": [{"type": "text", "text": "two"}, {"type": "text", "text": "three"}]},
            {"role": "system", "content": "four"},
        ]
    )
    assert made["system"] == [{"text": "one"}, {"text": "two"}, {"text": "three"}, {"text": "four"}]
    assert [turn["role"] for turn in made["messages"]] == ["user"]


def test_same_roles_are_merged() -> None:
    """Neighbours of one role make one turn, because Converse wants the roles to alternate."""
    made = request(
        messages=[
            {"role": "user", "content": "a"},
            {"role": "system", "content": "between"},
            {"role": "user", "content": [{"type": "text", "text": "b"}]},
            {"role": "assistant", "content": "c"},
            {"role": "assistant", "content": "d"},
            {"role": "user", "content": "e"},
        ]
    )
    texts = [[part["text"] for part in turn["content"]] for turn in made["messages"]]
    assert texts == [["a", "b"], ["c", "d"], ["e"]]


def test_blank_texts_are_left_out() -> None:
    """Texts of white space, which Converse refuses, are left out."""
    made = request(messages=[{"role": "user", "content": [{"type": "text", "text": " "}, laws.text_part("a")]}])
    assert made["messages"] == [{"role": "user", "content": [{"text": "a"}]}]
    assert "user message" in refused("messages", messages=[{"role": "user", "content": " \n"}])


def test_the_user_begins() -> None:
    """A conversation that the assistant begins is refused."""
    assert "user" in refused("messages", messages=[{"role": "assistant", "content": "Hi"}, *HELLO])


def test_last_words_of_the_assistant_end_in_no_white_space() -> None:
    """White space at the end of a prefill, an error there, is cut, and said once."""
    made = dialect()
    found = made.request({"messages": [*HELLO, {"role": "assistant", "content": "So: \n"}]})
    assert found["messages"][-1]["content"] == [{"text": "So:"}]
    assert list(made.notes) == ["body.messages"]


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp"])
def test_images(kind: str) -> None:
    """Images come as base64 text with their format."""
    made = request(messages=image(f"data:image/{kind};base64,{laws.PIXEL}"))
    assert made["messages"][0]["content"] == [{"image": {"format": kind, "source": {"bytes": laws.PIXEL}}}]


@pytest.mark.parametrize("url", ["https://x.example/a.png", "http://x.example/a.png", "s3://bucket/a.png", "nonsense"])
def test_images_elsewhere_are_refused(url: str) -> None:
    """Images that are not in the line are refused, with the remedy."""
    assert "data: URL" in refused("messages[0].content[0].image_url.url", messages=image(url))


@pytest.mark.parametrize(
    "url", ["data:image/tiff;base64,aGk=", "data:image/png;base64,!!", "data:image/png;base64,", "data:image/png,raw"]
)
def test_images_of_no_use_are_refused(url: str) -> None:
    """Other formats, and what is no base64 text, are refused."""
    refused("messages[0].content[0].image_url.url", messages=image(url))


def test_documents() -> None:
    """Files get names of the characters that AWS allows, each its own."""
    parts = [file("application/pdf", "Bericht_2024 (ä).pdf"), file("application/pdf", "Bericht_2024 (ä).pdf")]
    parts += [file("text/plain", "///"), laws.text_part("Sum up")]
    made = request(messages=[{"role": "user", "content": parts}])
    found = [part["document"] for part in made["messages"][0]["content"] if "document" in part]
    assert [document["format"] for document in found] == ["pdf", "pdf", "txt"]
    assert [document["name"] for document in found] == ["Bericht 2024 (a)", "Bericht 2024 (a) 2", "document"]


def test_documents_need_a_text() -> None:
    """A file without a text beside it, an error there, is refused."""
    assert "text" in refused("messages", messages=[{"role": "user", "content": [file("application/pdf", "a.pdf")]}])
    refused("messages[0].content[0].file.file_data", messages=[{"role": "user", "content": [file("a/b", "c")]}])
    by_id = [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]
    assert "file_data" in refused("messages[0].content[0].file", messages=by_id)


def test_audio_is_refused() -> None:
    """Recordings are refused."""
    parts = [{"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}]
    refused("messages[0].content[0].input_audio", messages=[{"role": "user", "content": parts}])


# ---- tools -----------------------------------------------------------------------------------------------------------


def test_tools_are_refused() -> None:
    """Tools, and a history with calls or results, are refused by field, with the models that take them."""
    assert "Claude" in refused("tools", tools=[laws.TOOL])
    calls = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    called = {"role": "assistant", "content": None, "tool_calls": calls}
    assert "Claude" in refused("messages[1].tool_calls", messages=[*HELLO, called])
    result = {"role": "tool", "tool_call_id": "a", "content": "x"}
    assert "Claude" in refused("messages[1].role", messages=[*HELLO, result])
    refused("tool_choice", tool_choice="required")


def test_no_tools_are_no_tools() -> None:
    """Empty tools and a choice that calls none change nothing."""
    assert request(tools=[], tool_choice="none", parallel_tool_calls=False) == request()
    assert request(tools=None, tool_choice="auto") == request()


# ---- options ---------------------------------------------------------------------------------------------------------


def test_inference_config() -> None:
    """Both spellings of max_tokens, temperature, top_p and stop as a string or a list."""
    made = request(max_tokens=5, temperature=0, top_p=0.5, stop="END")
    config = {"maxTokens": 5, "temperature": 0, "topP": 0.5, "stopSequences": ["END"]}
    assert made["inferenceConfig"] == config
    assert request(max_completion_tokens=7, max_tokens=5, stop=["a", "b"])["inferenceConfig"] == {
        "maxTokens": 7,
        "stopSequences": ["a", "b"],
    }
    assert request(stop=[], temperature=None) == request()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 1.5),
        ("temperature", -0.1),
        ("temperature", "0.5"),
        ("top_p", 2),
        ("max_tokens", 0),
        ("max_completion_tokens", 1.5),
        ("stop", [" "]),
        ("stop", 3),
        ("n", 2),
        ("logprobs", True),
        ("top_logprobs", 3),
        ("presence_penalty", 0.5),
        ("frequency_penalty", -1),
        ("logit_bias", {"50256": -100}),
        ("audio", {"voice": "x"}),
        ("modalities", ["audio"]),
        ("functions", [{"name": "f"}]),
        ("web_search_options", {"a": 1}),
        ("thinking", {"type": "enabled", "budget_tokens": 2000}),
        ("reasoning_effort", "some"),
        ("top_q", 1),
    ],
)
def test_what_changes_meaning_is_refused(field: str, value: Any) -> None:
    """What Converse has no word for, and what is out of its bounds, is an error of the row with the field's name."""
    refused(field, **{field: value})


def test_cosmetics_are_noted_once() -> None:
    """What changes no meaning is left out and told by field; noughts are left out in silence."""
    made = dialect()
    body = {"messages": HELLO, "seed": 1, "user": "u", "metadata": {"a": "b"}, "store": True, "reasoning_effort": "low"}
    body |= {
        "n": 1,
        "logprobs": False,
        "presence_penalty": 0,
        "frequency_penalty": 0.0,
        "logit_bias": {},
        "audio": None,
    }
    assert made.request(body) == request()
    made.request(body)
    assert sorted(made.notes) == [f"body.{name}" for name in ("metadata", "reasoning_effort", "seed", "store", "user")]


def test_top_k_by_family() -> None:
    """top_k goes where the family wants it, and is refused where there is none."""
    assert request(NOVA, top_k=5)["additionalModelRequestFields"] == {"inferenceConfig": {"topK": 5}}
    assert request(MISTRAL, top_k=5)["additionalModelRequestFields"] == {"top_k": 5}
    refused("top_k", LLAMA, top_k=5)


def test_json_object() -> None:
    """JSON mode is an instruction, after the author's own."""
    made = request(messages=[{"role": "system", "content": "a"}, *HELLO], response_format={"type": "json_object"})
    assert [part["text"] for part in made["system"]] == ["a", JSON_ONLY]
    assert request(response_format={"type": "text"}) == request()


def test_json_schema() -> None:
    """A schema travels as JSON text, definitions kept; models without structured outputs refuse it."""
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "string"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer_1", "schema": schema, "description": "d"}}
    told = request(MISTRAL, response_format=wanted)["outputConfig"]["textFormat"]
    assert told["type"] == "json_schema"
    assert orjson.loads(told["structure"]["jsonSchema"].pop("schema")) == schema
    assert told["structure"]["jsonSchema"] == {"name": "answer_1", "description": "d"}
    assert "json_object" in refused("response_format", LLAMA, response_format=wanted)
    refused("response_format.json_schema.schema", MISTRAL, response_format={"type": "json_schema"})
    refused("response_format.type", response_format={"type": "grammar"})


def test_text_only_families() -> None:
    """A model that sees no images refuses them before the upload; one that does takes them."""
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{laws.PIXEL}"}}
    messages = [{"role": "user", "content": [part]}]
    text_only = (
        LLAMA,
        "cohere.command-r-v1:0",
        "mistral.mistral-large-2407-v1:0",
        "ai21.jamba-1-5-mini-v1:0",
        "us.deepseek.r1-v1:0",
    )
    for model in text_only:
        assert "text only" in refused("messages[0].content[0].image_url", model, messages)
    for model in ("us.meta.llama4-scout-17b-instruct-v1:0", "mistral.pixtral-large-2502-v1:0", NOVA):
        assert request(model, messages)["messages"][0]["content"][0]["image"]["format"] == "png"


def test_models_without_system_messages() -> None:
    """Where a model knows no system messages, they come before the user's first words, with a note."""
    model = "mistral.mistral-7b-instruct-v0:2"
    made = dialect(model)
    messages = [*HELLO, {"role": "system", "content": "one"}]
    out = made.request({"messages": messages, "response_format": {"type": "json_object"}})
    assert out == {"messages": [{"role": "user", "content": [{"text": t} for t in ("one", JSON_ONLY, "Hello")]}]}
    assert "body.messages.system" in made.notes


# ---- answers ---------------------------------------------------------------------------------------------------------

NULLS = dict.fromkeys(("image", "document", "video", "toolUse", "toolResult", "reasoningContent", "cachePoint"))


def test_answer() -> None:
    """Texts are joined and the nulls of every unused member are nothing."""
    found = answer([{"text": "a", **NULLS}, {**NULLS, "text": None}, {"text": "b", **NULLS}])
    assert found["message"] == {"role": "assistant", "content": "ab", "refusal": None}
    assert found["finish_reason"] == "stop"
    assert found["usage"] == {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def test_answer_with_reasoning() -> None:
    """Reasoning stands apart from the text."""
    thought = {**NULLS, "text": None, "reasoningContent": {"reasoningText": {"text": "hm", "signature": None}}}
    message = answer([thought, {"text": "a"}])["message"]
    assert (message["content"], message["reasoning_content"]) == ("a", "hm")


def test_answer_with_tool_calls() -> None:
    """A tool call, should one come, has its id and its arguments as text."""
    use = {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"x": "é"}}, "text": None}
    found = answer([use], stop="tool_use")
    assert found["message"]["content"] is None
    assert found["message"]["tool_calls"] == [
        {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"x":"é"}'}}
    ]
    assert found["finish_reason"] == "tool_calls"


def test_cached_tokens_are_prompt_tokens() -> None:
    """Tokens read from and written to a cache are part of the prompt's."""
    usage = answer([], cacheReadInputTokens=3, cacheWriteInputTokens=4)["usage"]
    assert usage["prompt_tokens"] == 17
    assert usage["total_tokens"] == 22
    assert usage["prompt_tokens_details"] == {"cached_tokens": 3, "cache_write_tokens": 4}
    assert answer([], cacheReadInputTokens=None)["usage"]["prompt_tokens"] == 10


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        # B8: no answers, so they are not told as a good end; see test_malformed.py.
        ("malformed_model_output", "malformed_model_output"),
        ("malformed_tool_use", "malformed_tool_use"),
        ("tool_use", "stop"),
        ("something_new", "something_new"),
    ],
)
def test_finish_reasons(stop: str, finish: str) -> None:
    """Stop reasons are told in OpenAI's words; a new one is kept."""
    assert answer([{"text": "a"}], stop=stop)["finish_reason"] == finish


@pytest.mark.parametrize("output", [{}, {"output": None}, {"output": {"message": None}}, {"output": []}])
def test_no_message_is_a_failure(output: JSON) -> None:
    """An answer without a message is a failure."""
    assert isinstance(dialect().answer(output), Failure)


# ---- laws ------------------------------------------------------------------------------------------------------------

BODIES = laws.chat_bodies(tools=False)


def texts_in(made: JSON) -> tuple[list[str], list[str]]:
    turns = [part["text"] for turn in made["messages"] for part in turn["content"] if "text" in part]
    return [part["text"] for part in made.get("system", ())], turns


def echo(made: JSON) -> JSON:
    said = "".join(part.get("text", "") for part in made["messages"][-1]["content"])
    usage = {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5, "cacheReadInputTokens": None}
    content = [{"text": said, **NULLS}]
    message = {"role": "assistant", "content": content}
    return {"output": {"message": message}, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}}


@given(BODIES)
def test_no_text_is_lost(body: JSON) -> None:
    """Every text arrives, in order, and botocore takes the request; roles alternate and the user begins and ends."""
    laws.keeps_texts(dialect(), body, texts_in)
    made = dialect().request(body)
    valid_converse(made)
    roles = [turn["role"] for turn in made["messages"]]
    assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]


FAMILIES = [
    *(NOVA, MISTRAL, "us.meta.llama4-maverick-17b-instruct-v1:0", "us.writer.palmyra-x5-v1:0"),
    *(LLAMA, "mistral.mistral-large-2407-v1:0", "cohere.command-r-v1:0", "ai21.jamba-1-5-large-v1:0"),
]


@given(BODIES)
def test_meaning_is_kept(body: JSON) -> None:
    """What the model echoes is what the author hears."""
    laws.keeps_meaning(dialect(), body, echo)


@pytest.mark.parametrize("model", FAMILIES)
@given(body=laws.chat_bodies(tools=False, images=False))
def test_every_family_keeps_texts_and_meaning(model: str, body: JSON) -> None:
    """Llama, Mistral, Cohere and the others: no text is lost, botocore takes it, and the answer comes back."""
    valid_converse(dialect(model).request(body))
    laws.keeps_texts(dialect(model), body, texts_in)
    laws.keeps_meaning(dialect(model), body, echo)


@settings(max_examples=300)
@given(laws.wild_bodies())
def test_only_row_errors(body: JSON) -> None:
    """Nonsense is refused by field, never by an exception of another kind."""
    laws.raises_row_errors_only(dialect(), body)


@given(laws.JSON_VALUES, laws.JSON_VALUES, laws.JSON_VALUES)
def test_anything_can_be_read(content: Any, usage: Any, stop: Any) -> None:
    """Any answer gives a body or a failure."""
    blocks = content if isinstance(content, list) else [content, {"toolUse": content, "reasoningContent": content}]
    for output in ({"output": content}, {"output": {"message": content}}, {"output": {"message": {"content": blocks}}}):
        laws.reads_anything(dialect(), {**output, "usage": usage, "stopReason": stop})
    laws.reads_anything(dialect(), {"output": {"message": {"content": blocks}}, "usage": {"inputTokens": usage}})


def test_a_schema_in_words() -> None:
    """B1: ``model_facts`` may have the schema asked for in words, with a warning; without it the row is refused."""
    model = "us.meta.llama3-3-70b-instruct-v1:0"
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
    body = {"messages": [{"role": "user", "content": "Hi"}], "response_format": wanted}
    with pytest.raises(UntranslatableError, match="model_facts"):
        Converse(bedrock_family(model), model).request(body)
    made = Converse(bedrock_family(model, model_facts={model: {"schema": "prompt"}}), model)
    assert '{"type":"object"}' in made.request(body)["system"][0]["text"]
    assert "not enforced" in made.notes["body.response_format"]


def test_an_unknown_mistral() -> None:
    """B1: structured outputs only of the models that AWS names."""
    assert bedrock_family("mistral.mistral-large-3-675b-instruct").facts.schema == "native"
    facts = bedrock_family("mistral.mistral-large-4-instruct").facts
    assert (facts.known, facts.schema) == (False, "none")
