"""OpenAI's own body on Bedrock: nearly as it is, and its accents back."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from openai.types.chat import ChatCompletion, completion_create_params
from pydantic import TypeAdapter

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.dialect import Failure
from airflow_batch_provider.dialects.families import bedrock_family
from airflow_batch_provider.dialects.openai_body import OpenAIBody
from airflow_batch_provider.testing.native import read_native
from tests.dialects import laws

GPT_OSS = "openai.gpt-oss-120b-1:0"
QWEN = "qwen.qwen3-vl-235b-a22b"
HELLO: list[JSON] = [{"role": "user", "content": "Hello"}]
REQUEST: TypeAdapter[Any] = TypeAdapter(completion_create_params.CompletionCreateParamsNonStreaming)


def dialect(model: str = GPT_OSS) -> OpenAIBody:
    return OpenAIBody(bedrock_family(model), model)


def refused(field: str, model: str = GPT_OSS, messages: list[JSON] | None = None, **options: Any) -> str:
    with pytest.raises(UntranslatableError) as caught:
        dialect(model).request({"messages": messages or HELLO, **options})
    assert caught.value.field == f"body.{field}"
    return caught.value.message


def answer(message: JSON, finish: Any = "stop", **more: Any) -> JSON:
    output = {
        "id": "chatcmpl-1",
        "created": 5,
        "model": "m",
        "choices": [{"message": message, "finish_reason": finish}],
    }
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    found = dialect().answer({**output, "usage": usage, **more})
    assert isinstance(found, dict)
    return found


def test_request() -> None:
    """The body goes as it is, without model, stream and nulls."""
    options = {"max_completion_tokens": 5, "tools": [laws.TOOL], "reasoning_effort": "low", "temperature": 2}
    body = {"model": "x", "messages": HELLO, "stream": False, "top_p": None, **options}
    assert dialect().request(body) == {"messages": HELLO, **options}


def test_cosmetics_are_noted() -> None:
    """What belongs to OpenAI's platform is left out and noted."""
    made = dialect()
    assert made.request({"messages": HELLO, "store": True, "metadata": {"a": "b"}, "user": "u"}) == {"messages": HELLO}
    assert sorted(made.notes) == ["body.metadata", "body.store", "body.user"]


def test_developer_is_system() -> None:
    """Open models know the developer as system; the body stays as it was."""
    body = {"messages": [{"role": "developer", "content": "a"}, *HELLO]}
    assert laws.translated(dialect(), body)["messages"][0] == {"role": "system", "content": "a"}


def test_refusals() -> None:
    """More answers than one, log probabilities, pictures where there is no eye or no address that could be fetched."""
    assert "2 lines" in refused("n", n=2)
    refused("logprobs", logprobs=True)
    data = [{"role": "user", "content": [laws.IMAGE]}]
    refused("messages[0].content[0]", messages=data)
    assert dialect(QWEN).request({"messages": data})["messages"] == data
    web = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}]}]
    assert "data: URL" in refused("messages[0].content[0].image_url.url", QWEN, web)
    refused("messages[0].content[0].type", QWEN, [{"role": "user", "content": [{"type": "input_audio"}]}])


def test_reasoning_is_moved() -> None:
    """Reasoning between tags at the head of the content becomes reasoning_content."""
    message = answer({"role": "assistant", "content": "<reasoning>hm</reasoning>\n\nYes"})["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "Yes", "refusal": None, "reasoning_content": "hm"}


def test_reasoning_that_was_cut() -> None:
    """An answer that ends amid its reasoning has no content."""
    choice = answer({"content": "<reasoning>hm"}, "length")["choices"][0]
    assert choice["message"]["reasoning_content"] == "hm"
    assert choice["message"]["content"] == ""
    assert choice["finish_reason"] == "length"


def test_text_about_tags_stays() -> None:
    """Tags anywhere else belong to the text."""
    text = "Write <reasoning>so</reasoning>."
    assert answer({"content": text})["choices"][0]["message"]["content"] == text


def test_reasoning_under_other_names() -> None:
    """reasoning_content stays, reasoning becomes it."""
    assert answer({"content": "a", "reasoning": "hm"})["choices"][0]["message"]["reasoning_content"] == "hm"
    given_content = answer({"content": "a", "reasoning_content": "hm"})["choices"][0]["message"]
    assert given_content["reasoning_content"] == "hm"


def test_answer_is_a_completion() -> None:
    """The OpenAI SDK reads it: tool calls, usage as given, missing ids and finish reasons mended."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    found = answer({"content": None, "tool_calls": [call]}, "tool_calls", id=None, model=None, created=None)
    read = ChatCompletion.model_validate(found)
    assert read.choices[0].message.tool_calls is not None
    assert read.choices[0].message.tool_calls[0].id == "c1"
    assert read.model == GPT_OSS
    assert found["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert answer({"content": "a"}, None)["choices"][0]["finish_reason"] == "stop"


def test_failures() -> None:
    """What is no completion is a failure, with the provider's words where there are any."""
    assert dialect().answer({"error": {"message": "no", "code": 400}}) == Failure(None, "no", "400")
    for output in ({}, {"choices": []}, {"choices": [{"message": None}]}, {"choices": {"a": 1}}):
        assert isinstance(dialect().answer(output), Failure)


def texts_in(made: JSON) -> tuple[list[str], list[str]]:
    return laws.texts_of(made)


def echo(made: JSON) -> JSON:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    message = {"role": "assistant", "content": laws.last_words(made)}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}


@given(laws.chat_bodies())
def test_no_text_and_no_id_is_lost(body: JSON) -> None:
    """Every text and id arrives, in order, and the OpenAI SDK's types take the request."""
    laws.keeps_texts(dialect(QWEN), body, texts_in)
    made = dialect(QWEN).request(body)
    assert laws.ids_of(made) == laws.ids_of(body)
    for message in REQUEST.validate_python({**orjson.loads(orjson.dumps(made)), "model": "m"})["messages"]:
        list(message.get("content") or ())


@given(laws.chat_bodies())
def test_meaning_is_kept(body: JSON) -> None:
    """What the model echoes is what the author hears."""
    laws.keeps_meaning(dialect(QWEN), body, echo)


@settings(max_examples=200)
@given(laws.wild_bodies())
def test_only_row_errors(body: JSON) -> None:
    """Nonsense is refused by field, or goes as it is, never an exception of another kind."""
    laws.raises_row_errors_only(dialect(), body)
    laws.raises_row_errors_only(dialect(QWEN), body)


@given(laws.JSON_VALUES, laws.JSON_VALUES)
def test_anything_can_be_read(one: Any, other: Any) -> None:
    """Any answer gives a body or a failure."""
    message = {"content": one, "reasoning": other, "tool_calls": one}
    for choices in (one, [one], [{"message": one}], [{"message": message, "finish_reason": other, "index": one}]):
        laws.reads_anything(dialect(), {"choices": choices, "usage": other, "created": one, "error": other, "id": one})


def test_levels_of_effort() -> None:
    """B3, B5: gpt-oss takes three levels and always thinks; of other open models the word goes as it is."""
    model = "openai.gpt-oss-120b-1:0"
    asked: JSON = {"messages": [{"role": "user", "content": "Hi"}]}
    for effort, level in {"minimal": "low", "medium": "medium", "xhigh": "high"}.items():
        made = OpenAIBody(bedrock_family(model), model)
        request = made.request({**asked, "reasoning_effort": effort})
        assert request["reasoning_effort"] == level
        assert ("body.reasoning_effort" in made.notes) == (effort != level)
        read_native(model, "InvokeModel", request)
    with pytest.raises(UntranslatableError, match="cannot be kept from thinking"):
        OpenAIBody(bedrock_family(model), model).request({**asked, "reasoning_effort": "none"})
    qwen = OpenAIBody(bedrock_family("qwen.qwen3-32b-v1:0"), "qwen.qwen3-32b-v1:0")
    assert qwen.request({**asked, "reasoning_effort": "none"})["reasoning_effort"] == "none"
