"""Chat with Gemini: OpenAI's bodies in Gemini's words."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.families import vertex_family
from airflow_batch_provider.dialects.gemini import GeminiDialect
from tests.dialects import laws
from tests.dialects.vertex_tools import GEMINI_2, GEMINI_3, request_of

HI = [{"role": "user", "content": "Hi"}]


def dialect(model: str = GEMINI_2) -> GeminiDialect:
    return GeminiDialect(vertex_family(model), model)


def config(model: str = GEMINI_2, **fields: Any) -> JSON:
    """The generationConfig of a body with these fields."""
    found: JSON = request_of({"messages": HI, **fields}, model).get("generationConfig", {})
    return found


def refusal(body: JSON, model: str = GEMINI_2) -> UntranslatableError:
    with pytest.raises(UntranslatableError) as caught:
        dialect(model).request({"messages": HI, **body})
    return caught.value


def calling(name: str, arguments: str = "{}", call_id: str = "c1", **more: Any) -> JSON:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def asked_and_called(*calls: JSON, text: str | None = None) -> list[JSON]:
    return [*HI, {"role": "assistant", "content": text, "tool_calls": [*calls]}]


# ---- messages --------------------------------------------------------------------------------------------------------


def test_plain_chat() -> None:
    """One question becomes one user turn, and nothing else is written."""
    assert request_of({"model": "m", "messages": HI}) == {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}


def test_golden_conversation() -> None:
    """Instructions from anywhere are gathered in order, neighbours are one turn, the assistant is the model."""
    body = {
        "messages": [
            {"role": "system", "content": "one"},
            {"role": "user", "content": "a"},
            {"role": "user", "content": [{"type": "text", "text": "b"}]},
            {"role": "developer", "content": [{"type": "text", "text": "two"}, {"type": "text", "text": "three"}]},
            {"role": "assistant", "content": "c"},
            {"role": "system", "content": "four"},
            {"role": "user", "content": "d"},
        ]
    }
    assert request_of(body) == {
        "systemInstruction": {"parts": [{"text": "one"}, {"text": "two"}, {"text": "three"}, {"text": "four"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
            {"role": "model", "parts": [{"text": "c"}]},
            {"role": "user", "parts": [{"text": "d"}]},
        ],
    }


def test_media() -> None:
    """Images, files and recordings travel inline with their type."""
    png = f"data:image/png;base64,{laws.PIXEL}"
    parts = [
        {"type": "image_url", "image_url": {"url": png}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"}},
        {"type": "file", "file": {"filename": "a.csv", "file_data": "data:;base64,QUJD"}},
        {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}},
    ]
    found = request_of({"messages": [{"role": "user", "content": parts}]})["contents"][0]["parts"]
    assert found == [
        {"inlineData": {"mimeType": "image/png", "data": laws.PIXEL}},
        {"inlineData": {"mimeType": "application/pdf", "data": "QUJD"}},
        {"inlineData": {"mimeType": "text/csv", "data": "QUJD"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "QUJD"}},
    ]


def test_objects_in_cloud_storage() -> None:
    """gs:// addresses are handed on with the media type that their name tells."""
    parts = [
        {"type": "image_url", "image_url": {"url": "gs://b/x/cat.JPG"}},
        {"type": "file", "file": {"file_id": "gs://b/clip.mp4"}},
        {"type": "file", "file": {"file_data": "gs://b/noname", "filename": "report.pdf"}},
    ]
    found = request_of({"messages": [{"role": "user", "content": parts}]})["contents"][0]["parts"]
    assert [part["fileData"] for part in found] == [
        {"fileUri": "gs://b/x/cat.JPG", "mimeType": "image/jpeg"},
        {"fileUri": "gs://b/clip.mp4", "mimeType": "video/mp4"},
        {"fileUri": "gs://b/noname", "mimeType": "application/pdf"},
    ]


@pytest.mark.parametrize(
    ("part", "field", "remedy"),
    [
        ({"type": "image_url", "image_url": {"url": "https://x/y.png"}}, "image_url.url", "data: URL"),
        ({"type": "image_url", "image_url": {"url": "gs://b/noname"}}, "image_url.url", "end its name"),
        ({"type": "file", "file": {"file_id": "file-123"}}, "file", "data: URL"),
        ({"type": "file", "file": {"file_id": "https://x/y.pdf"}}, "file", "data: URL"),
        ({"type": "input_audio", "input_audio": {"format": "wav"}}, "input_audio", "base64"),
    ],
)
def test_what_a_batch_cannot_fetch(part: JSON, field: str, remedy: str) -> None:
    """Addresses that a batch cannot read are errors of the row, with the field and the remedy."""
    error = refusal({"messages": [{"role": "user", "content": [part]}]})
    assert error.field == f"body.messages[0].content[0].{field}"
    assert remedy in error.message


# ---- tools -----------------------------------------------------------------------------------------------------------


def test_tools() -> None:
    """Functions keep their JSON schema; one without arguments has none, in whatever way it says so."""
    tools = [
        laws.TOOL,
        {"type": "function", "function": {"name": "now"}},
        {"type": "function", "function": {"name": "a", "parameters": {}}},
        {"type": "function", "function": {"name": "b", "parameters": {"type": "object", "properties": {}}}},
        {
            "type": "function",
            "function": {
                "name": "c",
                "strict": True,
                "parameters": {"type": "object", "properties": {}, "required": [], "additionalProperties": False},
            },
        },
    ]
    request = request_of({"messages": HI, "tools": tools})
    assert request["tools"] == [
        {
            "functionDeclarations": [
                {
                    "name": "look_up",
                    "description": "Looks a word up.",
                    "parametersJsonSchema": laws.TOOL["function"]["parameters"],
                },
                *({"name": name} for name in ("now", "a", "b", "c")),
            ]
        }
    ]
    assert "toolConfig" not in request
    assert "tools" not in request_of({"messages": HI, "tools": []})


NAMED = {"type": "function", "function": {"name": "b"}}


@pytest.mark.parametrize(
    ("choice", "calling_config", "offered"),
    [
        ("auto", {"mode": "AUTO"}, "abc"),
        ("none", {"mode": "NONE"}, "abc"),
        ("required", {"mode": "ANY"}, "abc"),
        (NAMED, {"mode": "ANY", "allowedFunctionNames": ["b"]}, "abc"),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}},
            {"mode": "ANY", "allowedFunctionNames": ["b"]},
            "abc",
        ),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [NAMED]}}, {"mode": "AUTO"}, "b"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_tool_choice(choice: Any, calling_config: JSON, offered: str, first: bool) -> None:
    """Every tool_choice has its mode, wherever in the body it stands."""
    tools = [{"type": "function", "function": {"name": name}} for name in "abc"]
    body = {"tool_choice": choice, "tools": tools} if first else {"tools": tools, "tool_choice": choice}
    request = request_of({"messages": HI, **body})
    assert request["toolConfig"]["functionCallingConfig"] == calling_config
    assert "".join(it["name"] for it in request["tools"][0]["functionDeclarations"]) == offered


@pytest.mark.parametrize(
    "body",
    [
        {"tool_choice": {"type": "function", "function": {"name": "x"}}, "tools": [laws.TOOL]},
        {"tool_choice": "sometimes", "tools": [laws.TOOL]},
        {"tool_choice": "required"},
        {"tool_choice": {"type": "custom", "custom": {"name": "x"}}, "tools": [laws.TOOL]},
    ],
)
def test_impossible_tool_choice(body: JSON) -> None:
    """A choice that cannot be made is an error of the row."""
    assert refusal(body).field.startswith("body.tool_choice")


def test_calls_and_results() -> None:
    """Calls keep their arguments, empty ones are left out; results are in one turn, in order, each an object."""
    body = {
        "messages": [
            *asked_and_called(
                calling("f", '{"x":1,"gone":null,"empty":{}}', "c1"), calling("g", "{}", "c2"), text="Let me see"
            ),
            {"role": "tool", "tool_call_id": "c2", "content": "plain"},
            {"role": "tool", "tool_call_id": "c1", "content": '{"t": 21}'},
            {"role": "user", "content": "and?"},
        ]
    }
    assert request_of(body)["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"text": "Let me see"},
                {"functionCall": {"name": "f", "args": {"x": 1}}},
                {"functionCall": {"name": "g"}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "f", "response": {"t": 21}}},
                {"functionResponse": {"name": "g", "response": {"output": "plain"}}},
                {"text": "and?"},
            ],
        },
    ]


@pytest.mark.parametrize(
    "content",
    [
        *("", "[1]", "3", "null", "{", '"x"', "{}", '{"a": {}}', '{"a": null}', '{"a b": 1}', '{"a": [[1]]}'),
        *('{"a": [1, "x"]}', '{"a":' * 12 + "1" + "}" * 12, '{"a": 1, "A": 2}', "{not json}"),
    ],
)
def test_results_that_are_no_importable_object(content: str) -> None:
    """What is no object, or one that the importer would refuse, goes as the text it is."""
    messages = [*asked_and_called(calling("f")), {"role": "tool", "tool_call_id": "c1", "content": content}]
    found = request_of({"messages": messages})["contents"][2]["parts"][0]["functionResponse"]
    assert found == {"name": "f", "response": {"output": content}}


def test_signatures() -> None:
    """Gemini 3 gets a signature on the first call of each turn: the one it gave, or Google's stand-in."""
    real = {"extra_content": {"google": {"thought_signature": "QUJD"}}}
    body = {
        "messages": [
            *asked_and_called(calling("f", "{}", "c1"), calling("f", "{}", "c2")),
            {"role": "tool", "tool_call_id": "c1", "content": "x"},
            {"role": "tool", "tool_call_id": "c2", "content": "x"},
            {"role": "assistant", "tool_calls": [calling("f", "{}", "c3", **real)]},
            {"role": "tool", "tool_call_id": "c3", "content": "x"},
        ]
    }

    def signatures(model: str) -> list[Any]:
        turns = [turn for turn in request_of(body, model)["contents"] if turn["role"] == "model"]
        return [part.get("thoughtSignature") for turn in turns for part in turn["parts"]]

    assert signatures(GEMINI_3) == ["skip_thought_signature_validator", None, "QUJD"]
    assert signatures(GEMINI_2) == [None, None, "QUJD"]


def test_result_without_call() -> None:
    """A result that answers no call is an error: Gemini wants the function's name."""
    error = refusal({"messages": [*HI, {"role": "tool", "tool_call_id": "c9", "content": "x"}]})
    assert error.field == "body.messages[1].tool_call_id"


# ---- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_tokens": 5}, {"maxOutputTokens": 5}),
        ({"max_completion_tokens": 6}, {"maxOutputTokens": 6}),
        ({"max_completion_tokens": 6, "max_tokens": 5}, {"maxOutputTokens": 6}),
        ({"max_tokens": 5, "max_completion_tokens": 6}, {"maxOutputTokens": 6}),
        ({"temperature": 1}, {"temperature": 1.0}),
        ({"temperature": 2, "top_p": 1, "top_k": 40}, {"temperature": 2.0, "topP": 1.0, "topK": 40.0}),
        ({"presence_penalty": 0, "frequency_penalty": 0}, {}),
        ({"stop": "END"}, {"stopSequences": ["END"]}),
        ({"stop": ["a", "b"]}, {"stopSequences": ["a", "b"]}),
        ({"stop": []}, {}),
        ({"seed": 7}, {"seed": 7}),
        ({"n": 1, "temperature": None, "logprobs": False, "stream": False, "modalities": ["text"]}, {}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"responseMimeType": "application/json"}),
    ],
)
def test_options(fields: JSON, expected: JSON) -> None:
    """Each option has its place and its one type in generationConfig."""
    found = config(**fields)
    assert found == expected
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in expected.items()
    }


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"seed": 2**31}, "seed"),
        ({"stop": ["a", "b", "c", "d", "e", "f"]}, "stop"),
        ({"stop": " "}, "stop"),
        ({"reasoning_effort": "much"}, "reasoning_effort"),
        ({"reasoning_effort": ["low"]}, "reasoning_effort"),
        ({"functions": [{}]}, "functions"),
        ({"web_search_options": {"x": 1}}, "web_search_options"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"moderation": {"model": "x"}}, "moderation"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"safety_settings": [{"category": "X"}]}, "safety_settings[0]"),
        ({"safety_settings": {}}, "safety_settings[0]"),
    ],
)
def test_refused(body: JSON, field: str) -> None:
    """What changes meaning and has no equivalent is an error that names its field."""
    assert refusal(body).field == f"body.{field}"


def test_cosmetic_fields() -> None:
    """What changes no meaning is dropped with one note per field."""
    one = dialect()
    for _ in range(2):
        made = one.request(
            {"messages": HI, "user": "u", "metadata": {"a": "b"}, "store": True, "parallel_tool_calls": False}
        )
        assert made.keys() == {"contents"}
    assert one.notes.keys() == {"body.user", "body.metadata", "body.store", "body.parallel_tool_calls"}


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "noted"),
    [
        (GEMINI_2, "none", {"thinkingBudget": 0}, False),
        (GEMINI_2, "low", {"thinkingBudget": 1024}, False),
        (GEMINI_2, "medium", {"thinkingBudget": 8192}, False),
        (GEMINI_2, "max", {"thinkingBudget": 24576}, False),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}, True),
        (GEMINI_3, "none", {"thinkingLevel": "MINIMAL"}, True),
        (GEMINI_3, "minimal", {"thinkingLevel": "MINIMAL"}, False),
        (GEMINI_3, "medium", {"thinkingLevel": "MEDIUM"}, False),
        (GEMINI_3, "xhigh", {"thinkingLevel": "HIGH"}, False),
        ("gemini-3.1-pro-preview", "minimal", {"thinkingLevel": "LOW"}, True),
    ],
)
def test_effort(model: str, effort: str, thinking: JSON, noted: bool) -> None:
    """Effort is a budget of tokens until Gemini 2.5 and a level from 3 on."""
    assert config(model, reasoning_effort=effort) == {"thinkingConfig": thinking}
    one = dialect(model)
    one.request({"messages": HI, "reasoning_effort": effort})
    assert bool(one.notes) == noted


@pytest.mark.parametrize("name", ["safety_settings", "safetySettings"])
def test_safety_settings(name: str) -> None:
    """Gemini's own settings go through, where the author wrote them."""
    settings = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    assert request_of({"messages": HI, name: settings})["safetySettings"] == settings
