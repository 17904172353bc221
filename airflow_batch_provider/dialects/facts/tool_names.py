"""How functions may be called, by the format of the request.

A model behind several formats takes the names of the format: the same Claude has 128 characters in Anthropic's body and
64 in Converse's (aws-samples/sample-apj-sup-sa#137).
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ToolNames:
    """The names that are taken.

    :param pattern: for the whole name.
    :param said: the rule in words, after "must be".
    :param source: where the rule was read.
    """

    pattern: re.Pattern[str]
    said: str
    source: str


OPENAI = ToolNames(
    re.compile(r"[a-zA-Z0-9_-]{1,64}"),
    "1 to 64 letters, digits, _ or -",
    "OpenAI, API reference, FunctionObject; vercel/ai#1972 and home-assistant/core#121325: the words of the refusals",
)
CLAUDE = ToolNames(
    re.compile(r"[a-zA-Z0-9_-]{1,128}"),
    "1 to 128 letters, digits, _ or -",
    "home-assistant/core#147760 and anthropics/claude-code#96152: the words of the refusals",
)
GEMINI = ToolNames(
    re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}"),
    "1 to 64 letters, digits, _, ., : or -, the first a letter or _",
    "kaitranntt/ccs#25 and google-gemini/gemini-cli#9535: the words of the refusal",
)
BEDROCK = ToolNames(
    re.compile(r"[a-zA-Z0-9_-]{1,64}"),
    "1 to 64 letters, digits, _ or -",
    "botocore, bedrock-runtime, ToolName; openclaw/openclaw#12892 and awslabs/mcp#3181: the words of the refusals",
)
