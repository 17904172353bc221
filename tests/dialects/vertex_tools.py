"""What Vertex AI makes of our lines, told without our code: Google's own types, the importer's rules, echoes."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Iterable
from typing import Any, TypeAlias

import orjson
from google.genai import types

from airflow_batch_provider.core.records import JSON, BatchRequest
from airflow_batch_provider.dialects.base import LineFormat
from airflow_batch_provider.dialects.families import vertex_family
from airflow_batch_provider.dialects.formats import vertex_format

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
Path: TypeAlias = "tuple[str, ...]"
GEMINI_2 = "gemini-2.5-flash"
GEMINI_3 = "gemini-3-flash-preview"


def line_format(model: str = GEMINI_2, endpoint: str = CHAT) -> LineFormat:
    """The format of a model's lines."""
    return vertex_format(vertex_family(model), model, endpoint)


def row(body: JSON, custom_id: str = "row", model: str = GEMINI_2, endpoint: str = CHAT) -> BatchRequest:
    """A request as the core reads it."""
    raw = json.dumps({"custom_id": custom_id, "method": "POST", "url": endpoint, "body": body}).encode()
    return BatchRequest(custom_id, endpoint, model, body, raw, 1)


def wire(body: JSON, model: str = GEMINI_2) -> JSON:
    """The wire line of a body, checked."""
    made: JSON = orjson.loads(line_format(model).encode(row(body, model=model), 7))
    check_types(made)
    check_import([made])
    return made


def request_of(body: JSON, model: str = GEMINI_2) -> JSON:
    """The request of a wire line, without the label."""
    request: JSON = wire(body, model)["request"]
    del request["labels"]
    return request


def check_types(line: JSON) -> None:
    """The line's request is one that google-genai's types know, member by member; unknown members are errors there."""
    request = line["request"]
    known = {"contents", "systemInstruction", "generationConfig", "tools", "toolConfig", "safetySettings", "labels"}
    assert request.keys() <= known
    assert {turn["role"] for turn in request["contents"]} <= {"user", "model"}
    for turn in [*request["contents"], *filter(None, [request.get("systemInstruction")])]:
        for part in types.Content.model_validate(turn).parts or []:
            assert len(part.model_dump(exclude_none=True, exclude={"thought_signature"})) == 1
    types.GenerationConfig.model_validate(request.get("generationConfig", {}))
    types.ToolConfig.model_validate(request.get("toolConfig", {}))
    for tool in request.get("tools", ()):
        types.Tool.model_validate(tool)
    for setting in request.get("safetySettings", ()):
        types.SafetySetting.model_validate(setting)
    config = {name: value for name, value in request.items() if name not in ("contents", "generationConfig")}
    whole = {**request.get("generationConfig", {}), **config}
    types._GenerateContentParameters(
        model="m", contents=request["contents"], config=types.GenerateContentConfig.model_validate(whole)
    )
    for name, value in request["labels"].items():
        assert re.fullmatch("[a-z][a-z0-9_-]{0,62}", name)
        assert re.fullmatch("[a-z0-9_-]{0,63}", value)


class ImportRefusedError(Exception):
    """What the importer would say."""


def check_import(lines: Iterable[JSON]) -> None:
    """Read the lines as one table: one type a path, no nulls, no empty objects, plain names, 15 levels."""
    table: dict[Path, str] = {}
    spelled: dict[Path, str] = {}
    for line in lines:
        _read(line, (), 1, table, spelled)


def _read(
    value: Any,
    path: tuple[str, ...],
    depth: int,
    table: dict[tuple[str, ...], str],
    spelled: dict[tuple[str, ...], str],
) -> None:
    kind = type(value).__name__
    if value is None:
        raise ImportRefusedError(f"Only optional fields can be set to NULL. Field: {path}")
    if table.setdefault(path, kind) != kind:
        raise ImportRefusedError(f"{path} is {kind} and {table[path]}")
    if isinstance(value, list):
        for item in value:
            if isinstance(item, list):
                raise ImportRefusedError(f"Nested arrays: {path}")
            _read(item, (*path, "[]"), depth, table, spelled)
    elif isinstance(value, dict):
        if not value:
            raise ImportRefusedError(f"Cannot store struct {path} with no fields")
        for name, item in value.items():
            if not re.fullmatch("[A-Za-z_][A-Za-z_0-9]*", name):
                raise ImportRefusedError(f'Invalid field name "{name}"')
            if depth > 15:
                raise ImportRefusedError("Schema nested too deeply, at least 16")
            below = (*path, name.lower())
            if spelled.setdefault(below, name) != name:
                raise ImportRefusedError(f"Duplicate field names: {name}")
            _read(item, below, depth + 1, table, spelled)


def answered(line: JSON, response: JSON | None = None, status: str = "") -> JSON:
    """The output line of a wire line."""
    return {**copy.deepcopy(line), "status": status, "processed_time": "x", "response": response or {}}


def echoed(request: JSON) -> JSON:
    """A model that says the texts of the last turn, with 3 input and 2 output tokens."""
    text = "".join(part["text"] for part in request["contents"][-1]["parts"] if "text" in part)
    return said(text)


def said(text: str, **candidate: Any) -> JSON:
    """A usual answer."""
    return {
        "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", **candidate}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
        "modelVersion": GEMINI_2,
        "responseId": "abc",
        "createTime": "2025-09-19T21:29:47.000000Z",
    }


def shuffled(value: Any, chance: random.Random) -> Any:
    """The same JSON as the importer gives it back: keys reordered, unused members as nulls, floats as integers."""
    if isinstance(value, list):
        return [shuffled(item, chance) for item in value]
    if isinstance(value, float) and value.is_integer() and chance.random() < 0.5:
        return int(value)
    if not isinstance(value, dict):
        return value
    items = [(name, shuffled(item, chance)) for name, item in value.items()]
    items += [(name, None) for name in ("fileData", "text", "unused") if name not in value]
    items += [("many", [])] if chance.random() < 0.5 else []
    chance.shuffle(items)
    return dict(items)
