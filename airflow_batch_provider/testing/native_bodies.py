"""What providers refuse of a conversation, of tools and of media, whatever the model: the fake's own copy.

Written from the words with which people were refused, on purpose without the package's own tables. Claude:
home-assistant/core#147760 (names), eclipse-theia/theia#16122 and anthropics/claude-code#20901 (doubles),
anthropics/claude-code#5060 and Kilo-Org/kilocode#5163 (calls without results), #30654 (images and documents). Gemini:
kaitranntt/ccs#25 (names), lobehub/lobehub#12604 (doubles), gemini-cli#16415 and #11814 (calls and responses),
python-genai#867 (JSON beside functions), Google's "Image understanding" (images). Converse: openclaw/openclaw#12892
(names), generative-ai-use-cases#1685 (documents) and #1040 (Llama's images), AWS's API reference of Message (roles).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.testing.native_shared import refuse

_MEDIA = (
    (r"claude-(?:(?:instant|v?[123])\b.*|(?:opus|sonnet|haiku)-4(?:-[015])?)", 100),
    (r"claude-.+", 600),
    (r"gemini-2\.5-flash-image.*", 3),
    (r"gemini-3(?:\.1)?-\w+(?:-preview)?-image.*", 14),
    (r"gemini-3-pro.*", 900),
    (r"gemini-(?!.*(?:image|tts)).*", 3000),
    (r".*llama3-2-(?:11|90)b.*", 1),
    (r".*llama4-.*", 8),
)
"""The most images of a request. Of Claude, those with a context of 200,000 tokens take less."""


def most_media(model: str) -> int | None:
    """The most images of a request, None where no word of it is known."""
    return next((most for name, most in _MEDIA if re.fullmatch(name, model)), None)


def _blocks(turns: Any, field: str = "content") -> Iterator[tuple[int, str, JSON]]:
    """Number of the turn, role and block."""
    for number, turn in enumerate(turns if isinstance(turns, list) else ()):
        blocks = turn.get(field)
        for block in blocks if isinstance(blocks, list) else ():
            if isinstance(block, dict):
                yield number, str(turn.get("role")), block


def _twice(names: Iterable[Any]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if str(name) in seen:
            return str(name)
        seen.add(str(name))
    return None


# ---- Claude ----------------------------------------------------------------------------------------------------------


def check_claude_body(name: str, request: JSON) -> None:
    """Refuse what no Claude takes.

    :param name: the model's name as ``native_claude_rules.bare_claude`` gives it.
    :raises RefusedError: in Claude's words.
    """
    tools = [tool for tool in request.get("tools") or [] if tool.get("type", "custom") == "custom"]
    for number, tool in enumerate(tools):
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", str(tool.get("name"))):
            raise refuse(f"tools.{number}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
    if _twice(tool.get("name") for tool in tools):
        raise refuse("tools: Tool names must be unique.")
    _check_claude_turns(request)
    kinds = [block.get("type") for _, _, block in _blocks(request.get("messages"))]
    images, documents = kinds.count("image"), kinds.count("document")
    most = most_media(name)
    if most is not None and images + documents > most:
        raise refuse(f"messages: too many images and documents: {images} + {documents} > {most}")


def _check_claude_turns(request: JSON) -> None:
    turns = request.get("messages") or []
    for number, role, block in _blocks(turns):
        where = f"messages.{number}.content"
        kind = block.get("type")
        if kind in ("image", "document") and role != "user":
            raise refuse(f"{where}: {kind} blocks are only permitted in user messages")
        if kind == "tool_use" and not re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", str(block.get("name"))):
            raise refuse(f"{where}.tool_use.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
    for number in range(len(turns)):
        used = [
            block.get("id") for _, _, block in _blocks(turns[number : number + 1]) if block.get("type") == "tool_use"
        ]
        if _twice(used):
            raise refuse("messages: `tool_use` ids must be unique")
        after = [block for _, _, block in _blocks(turns[number + 1 : number + 2])]
        told = [block.get("tool_use_id") for block in after if block.get("type") == "tool_result"]
        if missing := [name for name in used if name not in told]:
            raise refuse(
                f"messages.{number}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(map(str, missing))}. Each `tool_use` block must have a corresponding `tool_result` block "
                "in the next message."
            )
        if extra := [name for name in told if name not in used] or (_twice(told) and told):
            raise refuse(f"messages.{number + 1}: unexpected `tool_use_id` found in `tool_result` blocks: {extra[0]}")
    first = [block for _, _, block in _blocks(turns[:1])]
    if any(block.get("type") == "tool_result" for block in first):
        raise refuse("messages.0: unexpected `tool_use_id` found in `tool_result` blocks")


# ---- Gemini ----------------------------------------------------------------------------------------------------------


def check_gemini_body(model: str, request: JSON) -> None:
    """Refuse what no Gemini of the model's generation takes.

    :param request: in camelCase.
    :raises RefusedError: in the provider's words.
    """
    declared = [function for tool in request.get("tools") or [] for function in tool.get("functionDeclarations") or []]
    for number, function in enumerate(declared):
        if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}", str(function.get("name"))):
            raise refuse(
                f"tools[0].function_declarations[{number}].name: [FIELD_INVALID] Invalid function name. Must start "
                "with a letter or an underscore. Must be a-z, A-Z, 0-9, or contain underscores (_), dots (.), colons "
                "(:), or dashes (-), with a maximum length of 64."
            )
    if double := _twice(function.get("name") for function in declared):
        raise refuse(f"Duplicate function declaration found: {double}")
    version = re.match(r"gemini-(\d+)", model)
    kind = (request.get("generationConfig") or {}).get("responseMimeType")
    if request.get("tools") and kind == "application/json" and version and int(version[1]) < 3:
        said = "Function calling" if declared else "Tool use"
        raise refuse(f"{said} with a response mime type: 'application/json' is unsupported")
    _check_gemini_turns(request.get("contents") or [])
    most = most_media(model)
    media = [
        block.get("inlineData") or block.get("fileData") or {} for _, _, block in _blocks(request["contents"], "parts")
    ]
    images = sum(str(item.get("mimeType")).startswith("image/") for item in media)
    if most is not None and images > most:
        raise refuse(f"Unable to submit request because it has more than {most} images.")


def _check_gemini_turns(turns: list[JSON]) -> None:
    waiting = 0
    for number, turn in enumerate(turns):
        parts = turn.get("parts") or []
        calls, answers = (sum(name in part for part in parts) for name in ("functionCall", "functionResponse"))
        if calls and number == 0:
            raise refuse(
                "Please ensure that function call turn comes immediately after a user turn or after a function "
                "response turn."
            )
        if answers and not waiting:
            raise refuse("Please ensure that function response turn comes immediately after a function call turn.")
        if answers != waiting:
            raise refuse(_UNEQUAL)
        waiting = calls
    if waiting:
        raise refuse(_UNEQUAL)


_UNEQUAL = (
    "Please ensure that the number of function response parts is equal to the number of function call parts of the "
    "function call turn."
)


# ---- Converse and Nova -----------------------------------------------------------------------------------------------


def check_converse_body(model: str, request: JSON) -> None:
    """Refuse what Bedrock takes of no model, and the pictures that a Llama does not take.

    :raises RefusedError: in Bedrock's words.
    """
    specs = [tool.get("toolSpec") or {} for tool in (request.get("toolConfig") or {}).get("tools") or []]
    named = [(f"toolConfig.tools.{number}.member.toolSpec.name", spec.get("name")) for number, spec in enumerate(specs)]
    for number, role, block in _blocks(request.get("messages")):
        for kind in ("image", "document"):
            if kind in block and role != "user":
                raise refuse(f"messages.{number}: {kind} content is only supported for the user role.")
        if "toolUse" in block:
            named.append((f"messages.{number}.member.content.member.toolUse.name", block["toolUse"].get("name")))
    for where, name in named:
        if len(str(name)) > 64:
            raise refuse(
                f"Value at '{where}' failed to satisfy constraint: Member must have length less than or equal to 64"
            )
        if not re.fullmatch(r"[a-zA-Z0-9_-]+", str(name)):
            raise refuse(
                f"Value at '{where}' failed to satisfy constraint: Member must satisfy regular expression pattern: "
                "[a-zA-Z0-9_-]+"
            )
    if double := _twice(spec.get("name") for spec in specs):
        raise refuse(f"The tool {double} is already defined at toolConfig.tools.")
    kinds = [kind for _, _, block in _blocks(request.get("messages")) for kind in block]
    if kinds.count("document") > 5:
        raise refuse("You can't include more than 5 documents in a request.")
    most = most_media(model)
    if most is not None and kinds.count("image") > most:
        raise refuse(f"The model supports at most {most} images per request.")
