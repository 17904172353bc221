"""The forms in which people write a model of Vertex AI (B13)."""

from __future__ import annotations

import pytest

from airflow_batch_provider.backends.vertex.place import VertexPlace, model_resource
from airflow_batch_provider.core.errors import ConfigurationError

GEMINI = "publishers/google/models/gemini-2.5-flash"
CLAUDE = "publishers/anthropic/models/claude-haiku-4-5@20251001"
TUNED = "projects/p/locations/us-central1/models/123@2"


def resource(model: str, kind: str = "") -> str:
    place = VertexPlace("p", "us-central1", "b", families={model: kind} if kind else {})
    return model_resource(model, place.family(model))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gemini-2.5-flash", GEMINI),
        ("google/gemini-2.5-flash", GEMINI),
        ("google.gemini-2.5-flash", GEMINI),
        ("models/gemini-2.5-flash", GEMINI),
        ("vertex_ai/gemini-2.5-flash", GEMINI),
        ("gemini/gemini-2.5-flash", GEMINI),
        (GEMINI, GEMINI),
        (f"projects/p/locations/global/{GEMINI}", f"projects/p/locations/global/{GEMINI}"),
        ("gemini-2.0-flash@001", "publishers/google/models/gemini-2.0-flash@001"),
        ("gemini-flash-latest", "publishers/google/models/gemini-flash-latest"),
        ("google/gemini-embedding-001", "publishers/google/models/gemini-embedding-001"),
        ("google/text-embedding-005", "publishers/google/models/text-embedding-005"),
        ("claude-haiku-4-5@20251001", CLAUDE),
        ("anthropic/claude-haiku-4-5@20251001", CLAUDE),
        ("vertex_ai/claude-haiku-4-5@20251001", CLAUDE),
        ("meta/llama-4-scout-maas", "publishers/meta/models/llama-4-scout-maas"),
        ("openai/gpt-oss-120b-maas", "publishers/openai/models/gpt-oss-120b-maas"),
        ("gpt-oss-120b-maas", "publishers/openai/models/gpt-oss-120b-maas"),
    ],
)
def test_forms_that_are_understood(model: str, expected: str) -> None:
    """B13: each form people write names the one resource."""
    assert resource(model) == expected


def test_tuned_models() -> None:
    """B13: a tuned model is asked by its resource name, whose kind the connection tells."""
    assert resource(TUNED, kind="gemini-2") == TUNED
    with pytest.raises(ConfigurationError, match="model_families"):
        resource(TUNED)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("projects/p/locations/us-central1/endpoints/456", "deployed there"),
        ("endpoints/456", "deployed there"),
        ("gemini/6335039103326748672", "deployed there"),
        ("vertex_ai/gemini/6335039103326748672", "deployed there"),
        ("6335039103326748672", "deployed there"),
        ("models/6335039103326748672", "deployed there"),
        ("acme/gemini-2.5-flash", "is not a publisher"),
        ("anthropic/gemini-2.5-flash", "published by google"),
        ("publishers/meta/models/gemini-2.5-flash", "published by google"),
        ("google/claude-haiku-4-5", "published by anthropic"),
        ("google/unheard-of", "Unknown model"),
    ],
)
def test_forms_that_are_refused(model: str, reason: str) -> None:
    """B13: what cannot be a model is refused by name, never made a publisher's path; an endpoint also with a family."""
    with pytest.raises(ConfigurationError, match=reason):
        resource(model)
    if "deployed" in reason:
        with pytest.raises(ConfigurationError, match=reason):
            resource(model, kind="gemini")
