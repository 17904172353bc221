"""The names that people write for a model of Vertex AI.

Google's REST takes ``publishers/P/models/M`` and, for tuned models, ``projects/P/locations/L/models/ID``. Google's
OpenAI-compatible endpoint writes ``google/M``, the Gemini API ``models/M``, LiteLLM ``vertex_ai/M`` and ``gemini/M``.
An endpoint is not the model of a batch: its deployed model is (BerriAI/litellm#39668, where a publisher path made of an
endpoint's number was answered with 404).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_batch_provider.core.errors import ConfigurationError

_PUBLISHERS = {
    "gemini": "google",
    **{name: name for name in ("google", "anthropic", "meta", "openai", "qwen", "deepseek-ai", "intfloat")},
    **{name: name for name in ("mistralai", "ai21", "moonshotai", "minimaxai", "zai-org", "xai")},
}
"""The publisher by what stands before a model's id."""
_TOOLS = re.compile(r"^(?:vertex_ai(?:_beta)?|vertexai)/")
_PUBLISHED = re.compile(r"(?:projects/[^/]+/locations/[^/]+/)?publishers/([^/]+)/models/([^/]+)")
_TUNED = re.compile(r"projects/[^/]+/locations/[^/]+/models/[^/]+")
_ENDPOINT = re.compile(r"(?:.*/)?endpoints/\d+|(?:gemini/|models/)?\d+")


@dataclass(frozen=True, slots=True)
class VertexName:
    """A model's name, taken apart.

    :param bare: the id alone; empty for a tuned model, whose name does not show its kind.
    :param publisher: empty where the author names none.
    :param resource: the resource name, where the author wrote one.
    """

    bare: str
    publisher: str = ""
    resource: str = ""


def read_vertex_name(model: str) -> VertexName:
    """A name in any of its forms.

    :raises ConfigurationError: for what cannot be a model's name, with what to write instead.
    """
    name = _TOOLS.sub("", model.strip().strip("/"))
    if found := _PUBLISHED.fullmatch(name):
        return VertexName(found[2], found[1], name)
    if _ENDPOINT.fullmatch(name):
        raise ConfigurationError(
            f"model {model!r} is an endpoint or a number; a batch requires the model deployed there: write its "
            "resource name, projects/PROJECT/locations/REGION/models/MODEL, and its kind in model_families"
        )
    if _TUNED.fullmatch(name):
        return VertexName("", resource=name)
    publisher, _, bare = name.removeprefix("models/").rpartition("/")
    if publisher and publisher not in _PUBLISHERS:
        raise ConfigurationError(
            f"model {model!r}: {publisher!r} is not a publisher; write the model's id, PUBLISHER/MODEL with one of "
            f"{', '.join(sorted(set(_PUBLISHERS.values())))}, or publishers/PUBLISHER/models/MODEL"
        )
    for dotted in ("google.", "anthropic."):
        if not publisher and bare.startswith(dotted):
            publisher, bare = dotted[:-1], bare.removeprefix(dotted)
    return VertexName(bare, _PUBLISHERS.get(publisher, ""))
