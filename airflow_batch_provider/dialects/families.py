"""One table of facts per model family: which dialect, which envelope, which kind of invocation.

Sources: AWS "Supported Regions and models for batch inference", "Batch inference" (tools not with Converse), model
parameter pages; Google "Batch inference with Gemini", "Claude on Vertex batch", "MaaS batch prediction". A model that
no row matches, or a private name (an application inference profile, a custom model), is told by the connection's
``model_families``: model or ARN -> family name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from airflow_batch_provider.core.errors import ConfigurationError

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
    """What is known of one family of models.

    :param pattern: a regular expression for the start of the bare model id.
    :param endpoint: what the family is asked, in OpenAI's spelling.
    :param invocation: Bedrock's ``modelInvocationType``.
    :param publisher: Vertex's publisher.
    :param max_tokens: written where a request names none and the provider requires it.
    :param sampling: which of temperature and top_p the family takes: both, one of them, none.
    :param max_temperature: the largest value it takes.
    :param effort: how reasoning effort is asked for: a token budget, adaptive effort, a level, OpenAI's own word.
    :param schema: whether it has structured outputs of its own, or a forced tool stands in.
    :param prefill: whether the conversation may end with the assistant's words.
    :param top_k: Converse only: where below ``additionalModelRequestFields`` top_k belongs, dots between the levels.
    :param xhigh: whether the effort ``xhigh`` is known.
    :param images: False where it is known to take text only.
    :param system: whether it knows system messages; otherwise they stand before the user's first words.
    """

    name: str
    pattern: str
    dialect: DialectName
    endpoint: str = CHAT
    invocation: Literal["InvokeModel", "Converse"] = "InvokeModel"
    publisher: str = ""
    max_tokens: int = 4096
    sampling: Literal["both", "one", "none"] = "both"
    max_temperature: float = 2.0
    effort: Literal["", "budget", "adaptive", "level", "openai"] = ""
    schema: Literal["", "native", "tool"] = ""
    prefill: bool = True
    top_k: str = ""
    xhigh: bool = False
    images: bool = True
    system: bool = True


def _claude(publisher: str = "") -> tuple[Family, ...]:
    """Claude is the same on Bedrock and on Vertex.

    Live users: 4.5 and later refuse temperature together with top_p, 4.7 and later both, top_k and token budgets.
    Anthropic's migration guide: no prefill since 4.6. AWS "Get validated JSON results": native schemas since 4.5.
    """
    prefix = "" if publisher else r"anthropic\."
    rows: tuple[tuple[str, str, Literal["both", "one", "none"], Literal["", "budget", "adaptive"], str], ...] = (
        ("claude-5", r"claude-(?:opus|sonnet|haiku|fable|mythos)-5", "none", "adaptive", "native"),
        ("claude-4.7", r"claude-(?:opus|sonnet|haiku)-4-[7-9]", "none", "adaptive", "native"),
        ("claude-4.6", r"claude-(?:opus|sonnet|haiku)-4-6", "one", "adaptive", "native"),
        ("claude-4.5", r"claude-(?:opus|sonnet|haiku)-4-5", "one", "budget", "native"),
        ("claude-4", r"claude-(?:(?:opus|sonnet|haiku)-4|3-7)", "both", "budget", "tool"),
        ("claude", r"claude", "both", "", "tool"),
    )
    return tuple(
        Family(
            name,
            prefix + pattern,
            "anthropic",
            publisher=publisher,
            sampling=sampling,
            max_temperature=1.0,
            effort=effort,
            schema="native" if schema == "native" else "tool",
            prefill=effort != "adaptive",
            xhigh=sampling == "none",
        )
        for name, pattern, sampling, effort, schema in rows
    )


def _converse(
    name: str,
    pattern: str,
    top_k: str = "",
    schema: Literal["", "native"] = "",
    *,
    images: bool = True,
    system: bool = True,
) -> Family:
    """Converse's own bounds of temperature are 0 and 1 (botocore, InferenceConfiguration).

    AWS, "Supported models and model features" of Converse: who sees images and knows system messages. AWS, "Get
    validated JSON results from models": native schemas since Mistral Large 3 and its family.
    """
    return Family(
        name,
        pattern,
        "converse",
        invocation="Converse",
        max_temperature=1.0,
        top_k=top_k,
        schema=schema,
        images=images,
        system=system,
    )


_ONLY_TOLD = r"(?!)"
"""Matches no model: the family is for ``model_families`` alone."""


def _nova(name: str, pattern: str, effort: Literal["", "level"] = "") -> Family:
    """AWS, Nova user guide: 0 to 1 for the temperature; schemas by a forced tool ("Structured output")."""
    return Family(name, pattern, "nova", max_temperature=1.0, effort=effort, schema="tool")


BEDROCK: tuple[Family, ...] = (
    *_claude(),
    Family("openai", r"openai\.gpt-oss", "openai", effort="openai", images=False),
    Family("open", r"qwen\.|deepseek\.v3|moonshot(ai)?\.|minimax\.", "openai", effort="openai"),
    Family("titan-embed", r"amazon\.titan-embed-text-v2", "titan_embed", EMBEDDINGS),
    Family("cohere-embed-4", r"cohere\.embed-v4", "cohere_embed", EMBEDDINGS),
    Family("cohere-embed", r"cohere\.embed-", "cohere_embed", EMBEDDINGS),
    _nova("nova-2", r"amazon\.nova-2-lite", "level"),
    _nova("nova", r"amazon\.nova-(?!.*(?:canvas|reel|sonic|embed))"),
    _converse("nova-converse", _ONLY_TOLD, "inferenceConfig.topK"),
    _converse("llama-vision", r"meta\.llama(?:3-2-(?:11|90)b|[4-9])"),
    _converse("llama", r"meta\.llama", images=False),
    _converse("mistral-instruct", r"mistral\.(?:mistral-7b|mixtral-8x7b)", "top_k", images=False, system=False),
    _converse("mistral-2024", r"mistral\.mistral-(?:large|small)-24", "top_k", images=False),
    _converse("pixtral", r"mistral\.pixtral", "top_k"),
    _converse("mistral", r"mistral\.", "top_k", "native"),
    _converse("cohere", r"cohere\.command-r", "k", images=False),
    _converse("jamba", r"ai21\.jamba", images=False),
    _converse("deepseek-r1", r"deepseek\.r1", images=False),
    _converse("writer", r"writer\."),
)
_GOOGLE_TEXT = r"text-?embedding-(?:gecko|\d{3})|text-multilingual-embedding-"
VERTEX: tuple[Family, ...] = (
    *_claude("anthropic"),
    Family("gemini-embedding", r"gemini-embedding", "gemini_embed", EMBEDDINGS, publisher="google"),
    Family("text-embedding", _GOOGLE_TEXT, "text_embed", EMBEDDINGS, publisher="google"),
    Family("gemini-2", r"gemini-(?:1|2)", "gemini", publisher="google", effort="budget", schema="native"),
    Family("gemini", r"gemini", "gemini", publisher="google", effort="level", schema="native"),
    Family("open-llama", r"meta/|llama-", "openai", publisher="meta", effort="openai"),
    Family("open-gpt-oss", r"openai/|gpt-oss", "openai", publisher="openai", effort="openai"),
    Family("open-qwen", r"qwen", "openai", publisher="qwen", effort="openai"),
    Family("open-deepseek", r"deepseek", "openai", publisher="deepseek-ai", effort="openai"),
    Family("open-e5", r"intfloat/|multilingual-e5", "openai", EMBEDDINGS, publisher="intfloat"),
)
_PROFILE = re.compile(r"(?:us-gov|us|eu|apac|jp|au|ca|sa|uk|me|il|in|global)\.(?=[a-z0-9]+\.)")
_ARN = re.compile(r"arn:aws[\w-]*:bedrock:[\w-]*:\d*:([\w-]+)/(.+)")


def bedrock_family(model: str, overrides: Mapping[str, str] | None = None) -> Family:
    """The family of a Bedrock model: a foundation model's id, an inference profile's id or ARN.

    :param overrides: the connection's ``model_families``.
    :raises ConfigurationError: when no row matches, naming the remedy.
    """
    return _find(model, _bare_bedrock(model), BEDROCK, overrides or {})


def vertex_family(model: str, overrides: Mapping[str, str] | None = None) -> Family:
    """The family of a Vertex AI model: its id, or its resource name below a publisher.

    :param overrides: the connection's ``model_families``.
    :raises ConfigurationError: when no row matches, naming the remedy.
    """
    bare = model.rpartition("/models/")[2] if "/models/" in model else model
    return _find(model, bare, VERTEX, overrides or {})


def _bare_bedrock(model: str) -> str:
    arn = _ARN.match(model)
    if arn:
        kind, model = arn[1], arn[2]
        if kind in ("application-inference-profile", "imported-model", "provisioned-model", "custom-model-deployment"):
            return ""
    return _PROFILE.sub("", model, count=1)


def _find(model: str, bare: str, table: tuple[Family, ...], overrides: Mapping[str, str]) -> Family:
    told = overrides.get(model)
    for family in table:
        if family.name == told if told else bare and re.match(family.pattern, bare):
            return family
    names = ", ".join(family.name for family in table)
    if told:
        raise ConfigurationError(f"model_families says that {model!r} is of family {told!r}; known are {names}")
    raise ConfigurationError(
        f"It is not known how batches for model {model!r} are written; if the provider takes it in batches, set the "
        f'connection\'s model_families to {{"{model}": one of {names}}}'
    )
