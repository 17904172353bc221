"""One row per model family: which dialect, which envelope, which kind of invocation.

Sources: AWS "Supported Regions and models for batch inference", "Batch inference" (tools not with Converse), model
parameter pages; Google "Batch inference with Gemini", "Claude on Vertex batch", "MaaS batch prediction". A model that
no row matches, or a private name (an application inference profile, a custom model), is named by the connection's
``model_families``: model or ARN -> a family's name, or the id of the model behind it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.dialects.facts import Facts, ModelFacts, facts_of
from airflow_batch_provider.dialects.vertex_names import read_vertex_name

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"

DialectName: TypeAlias = Literal[
    "converse",
    "anthropic",
    "gemini",
    "nova",
    "openai",
    "titan_embed",
    "cohere_embed",
    "gemini_embed",
    "text_embed",
]


@dataclass(frozen=True, slots=True)
class Family:
    """How the lines of one family of models are written.

    :param pattern: a regular expression for the start of the bare model id.
    :param endpoint: what the family answers, in OpenAI's spelling.
    :param invocation: Bedrock's ``modelInvocationType``.
    :param publisher: Vertex's publisher.
    :param like: the model whose facts hold where ``model_families`` names the family; the family's name unless set.
    :param facts: what the model at hand takes and refuses; filled in when a family is looked up.
    """

    name: str
    pattern: str
    dialect: DialectName
    endpoint: str = CHAT
    invocation: Literal["InvokeModel", "Converse"] = "InvokeModel"
    publisher: str = ""
    like: str = ""
    facts: Facts = field(default_factory=Facts)


def _claude(publisher: str = "") -> tuple[Family, ...]:
    """A family that ``model_families`` names takes the strictest facts of its members."""
    prefix = "" if publisher else r"anthropic\."
    rows = (
        ("claude-5", r"claude-(?:opus|sonnet|haiku|fable|mythos)-5", "claude-unknown"),
        ("claude-4.7", r"claude-(?:opus|sonnet|haiku)-4-[7-9]", "claude-opus-4-8"),
        ("claude-4.6", r"claude-(?:opus|sonnet|haiku)-4-6", "claude-sonnet-4-6"),
        ("claude-4.5", r"claude-(?:opus|sonnet|haiku)-4-5", "claude-haiku-4-5"),
        ("claude-4", r"claude-(?:(?:opus|sonnet|haiku)-4|3-7)", "claude-opus-4-1"),
        ("claude", r"claude", "claude"),
    )
    return tuple(
        Family(name, prefix + pattern, "anthropic", publisher=publisher, like=like) for name, pattern, like in rows
    )


def _converse(name: str, pattern: str, like: str = "") -> Family:
    return Family(name, pattern, "converse", invocation="Converse", like=like)


_ONLY_TOLD = r"(?!)"
"""Matches no model: the family is for ``model_families`` alone."""

BEDROCK: tuple[Family, ...] = (
    *_claude(),
    Family("openai", r"openai\.gpt-oss", "openai", like="gpt-oss"),
    Family("open", r"qwen\.|deepseek\.v3|moonshot(ai)?\.|minimax\.", "openai", like="qwen"),
    Family("titan-embed", r"amazon\.titan-embed-text-v2", "titan_embed", EMBEDDINGS),
    Family("cohere-embed-4", r"cohere\.embed-v4", "cohere_embed", EMBEDDINGS),
    Family("cohere-embed", r"cohere\.embed-", "cohere_embed", EMBEDDINGS),
    Family("nova-2", r"amazon\.nova-2-lite", "nova", like="nova-2-lite"),
    Family("nova", r"amazon\.nova-(?!.*(?:canvas|reel|sonic|embed))", "nova", like="nova-pro"),
    _converse("nova-converse", _ONLY_TOLD),
    _converse("llama-vision", r"meta\.llama(?:3-2-(?:11|90)b|[4-9])"),
    _converse("llama", r"meta\.llama"),
    _converse("mistral-instruct", r"mistral\.(?:mistral-7b|mixtral-8x7b)"),
    _converse("mistral-2024", r"mistral\.mistral-(?:large|small)-24"),
    _converse("pixtral", r"mistral\.pixtral"),
    _converse("mistral", r"mistral\."),
    _converse("cohere", r"cohere\.command-r", "command-r"),
    _converse("jamba", r"ai21\.jamba"),
    _converse("deepseek-r1", r"deepseek\.r1", "r1"),
    _converse("writer", r"writer\.", "palmyra"),
)
_GOOGLE_TEXT = r"text-?embedding-(?:gecko|\d{3})|text-multilingual-embedding-"
VERTEX: tuple[Family, ...] = (
    *_claude("anthropic"),
    Family("gemini-embedding", r"gemini-embedding", "gemini_embed", EMBEDDINGS, publisher="google"),
    Family("text-embedding", _GOOGLE_TEXT, "text_embed", EMBEDDINGS, publisher="google"),
    Family("gemini-2", r"gemini-(?:1|2)", "gemini", publisher="google", like="gemini-2.5-flash"),
    Family("gemini", r"gemini", "gemini", publisher="google", like="gemini-unknown"),
    Family("open-llama", r"meta/|llama-", "openai", publisher="meta", like="llama-4"),
    Family("open-gpt-oss", r"openai/|gpt-oss", "openai", publisher="openai"),
    Family("open-qwen", r"qwen", "openai", publisher="qwen"),
    Family("open-deepseek", r"deepseek", "openai", publisher="deepseek-ai"),
    Family("open-e5", r"intfloat/|multilingual-e5", "openai", EMBEDDINGS, publisher="intfloat"),
)
_PROFILE = re.compile(r"[a-z]+(?:-[a-z]+)?\.(?=[a-z0-9]+\.)")
"""A geography before a maker; AWS adds to them, so none is listed."""
_ARN = re.compile(r"arn:aws[\w-]*:bedrock:[\w-]*:\d*:([\w-]+)/(.+)")


def bedrock_family(
    model: str, overrides: Mapping[str, str] | None = None, model_facts: ModelFacts | None = None
) -> Family:
    """The family of a Bedrock model, and the model's facts: a foundation model's id, an inference profile's id or ARN.

    :param overrides: the connection's ``model_families``.
    :param model_facts: the connection's ``model_facts``.
    :raises ConfigurationError: when no row matches, naming the remedy.
    """
    family, bare = _find(model, _bare_bedrock(model), BEDROCK, overrides or {})
    return replace(family, facts=facts_of("bedrock", bare, model, model_facts))


def vertex_family(
    model: str, overrides: Mapping[str, str] | None = None, model_facts: ModelFacts | None = None
) -> Family:
    """The family of a Vertex AI model, and the model's facts: its id, or its resource name below a publisher.

    :param overrides: the connection's ``model_families``.
    :param model_facts: the connection's ``model_facts``.
    :raises ConfigurationError: when no row matches, naming the remedy.
    """
    name = read_vertex_name(model)
    bare = name.bare
    if name.publisher and not any(re.match(family.pattern, bare) for family in VERTEX):
        bare = f"{name.publisher}/{bare}"
    family, bare = _find(model, bare, VERTEX, overrides or {})
    if name.publisher and name.publisher != family.publisher and model not in (overrides or {}):
        raise ConfigurationError(
            f"model {model!r}: {name.bare} is published by {family.publisher}, not by {name.publisher}"
        )
    return replace(family, facts=facts_of("vertex", bare, model, model_facts))


def _bare_bedrock(model: str) -> str:
    arn = _ARN.match(model)
    if arn:
        kind, model = arn[1], arn[2]
        if kind in ("application-inference-profile", "imported-model", "provisioned-model", "custom-model-deployment"):
            return ""
    if any(re.match(family.pattern, model) for family in BEDROCK):
        return model
    return _PROFILE.sub("", model, count=1)


def _find(model: str, bare: str, table: tuple[Family, ...], overrides: Mapping[str, str]) -> tuple[Family, str]:
    """The family, and the bare id of the model whose facts hold."""
    named = overrides.get(model)
    for family in table:
        if named == family.name:
            return family, family.like or family.name
    # A private name may also be given as the id of the model behind it.
    bare = _bare_bedrock(named) if named else bare
    for family in table:
        if bare and re.match(family.pattern, bare):
            return family, bare
    _, slash, last = model.rpartition("/")
    if slash and not named and any(re.match(family.pattern, _bare_bedrock(last)) for family in BEDROCK):
        raise ConfigurationError(f"model {model!r} is not a model id of Amazon Bedrock; write {last!r}, or an ARN")
    names = ", ".join(family.name for family in table)
    if named:
        raise ConfigurationError(
            f"model_families says that {model!r} is of family {named!r}; use the id of a known model, or one of {names}"
        )
    raise ConfigurationError(
        f"Unknown model {model!r}. If the provider runs it in batches, set its format in the connection's "
        f'model_families: {{"{model}": FAMILY}}, with FAMILY one of {names}'
    )
