"""The table of families: every spelling of a model finds its row, and unknown ones are told the remedy."""

from __future__ import annotations

import pytest

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.dialects.families import BEDROCK, VERTEX, bedrock_family, vertex_family


@pytest.mark.parametrize(
    ("model", "name", "dialect", "invocation"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0", "claude", "anthropic", "InvokeModel"),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", "claude", "anthropic", "InvokeModel"),
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", "claude-4", "anthropic", "InvokeModel"),
        ("eu.anthropic.claude-sonnet-4-20250514-v1:0", "claude-4", "anthropic", "InvokeModel"),
        ("us.anthropic.claude-opus-4-1-20250805-v1:0", "claude-4", "anthropic", "InvokeModel"),
        ("global.anthropic.claude-haiku-4-5-20251001-v1:0", "claude-4.5", "anthropic", "InvokeModel"),
        ("jp.anthropic.claude-sonnet-4-6", "claude-4.6", "anthropic", "InvokeModel"),
        ("anthropic.claude-opus-4-7", "claude-4.7", "anthropic", "InvokeModel"),
        ("us.anthropic.claude-opus-5", "claude-5", "anthropic", "InvokeModel"),
        ("openai.gpt-oss-120b-1:0", "openai", "openai", "InvokeModel"),
        ("qwen.qwen3-32b-v1:0", "open", "openai", "InvokeModel"),
        ("us.deepseek.v3-v1:0", "open", "openai", "InvokeModel"),
        ("moonshotai.kimi-k2.5", "open", "openai", "InvokeModel"),
        ("moonshot.kimi-k2-thinking", "open", "openai", "InvokeModel"),
        ("minimax.minimax-m2", "open", "openai", "InvokeModel"),
        ("amazon.titan-embed-text-v2:0", "titan-embed", "titan_embed", "InvokeModel"),
        ("us.amazon.nova-lite-v1:0", "nova", "nova", "InvokeModel"),
        ("amazon.nova-premier-v1:0", "nova", "nova", "InvokeModel"),
        ("apac.amazon.nova-2-lite-v1:0", "nova-2", "nova", "InvokeModel"),
        ("cohere.embed-english-v3", "cohere-embed", "cohere_embed", "InvokeModel"),
        ("cohere.embed-multilingual-v3", "cohere-embed", "cohere_embed", "InvokeModel"),
        ("us.cohere.embed-v4:0", "cohere-embed-4", "cohere_embed", "InvokeModel"),
        ("meta.llama3-1-70b-instruct-v1:0", "llama", "converse", "Converse"),
        ("us.meta.llama3-3-70b-instruct-v1:0", "llama", "converse", "Converse"),
        ("mistral.mixtral-8x7b-instruct-v0:1", "mistral-instruct", "converse", "Converse"),
        ("us.mistral.pixtral-large-2502-v1:0", "pixtral", "converse", "Converse"),
        ("cohere.command-r-v1:0", "cohere", "converse", "Converse"),
        ("us.meta.llama4-maverick-17b-instruct-v1:0", "llama-vision", "converse", "Converse"),
        ("us.meta.llama3-2-90b-instruct-v1:0", "llama-vision", "converse", "Converse"),
        ("us.meta.llama3-2-3b-instruct-v1:0", "llama", "converse", "Converse"),
        ("mistral.mistral-large-3-675b-instruct", "mistral", "converse", "Converse"),
        ("mistral.mistral-small-2402-v1:0", "mistral-2024", "converse", "Converse"),
        ("mistral.mistral-large-2407-v1:0", "mistral-2024", "converse", "Converse"),
        ("cohere.command-r-plus-v1:0", "cohere", "converse", "Converse"),
        ("ai21.jamba-1-5-large-v1:0", "jamba", "converse", "Converse"),
        ("us.deepseek.r1-v1:0", "deepseek-r1", "converse", "Converse"),
        ("us.writer.palmyra-x5-v1:0", "writer", "converse", "Converse"),
    ],
)
def test_bedrock(model: str, name: str, dialect: str, invocation: str) -> None:
    """Ids, profiles and their ARNs find one row, which says dialect and kind of invocation."""
    arns = [
        f"arn:aws:bedrock:us-east-1::foundation-model/{model}",
        f"arn:aws-us-gov:bedrock:us-gov-west-1:111122223333:inference-profile/{model}",
    ]
    for spelling in (model, *arns):
        family = bedrock_family(spelling)
        assert (family.name, family.dialect, family.invocation) == (name, dialect, invocation)


@pytest.mark.parametrize(
    ("model", "name", "dialect"),
    [
        ("claude-3-5-haiku@20241022", "claude", "anthropic"),
        ("claude-sonnet-4@20250514", "claude-4", "anthropic"),
        ("claude-sonnet-4-5@20250929", "claude-4.5", "anthropic"),
        ("claude-opus-4-6", "claude-4.6", "anthropic"),
        ("claude-opus-5", "claude-5", "anthropic"),
        ("gemini-2.5-flash", "gemini-2", "gemini"),
        ("gemini-3-pro-preview", "gemini", "gemini"),
        ("gemini-embedding-001", "gemini-embedding", "gemini_embed"),
        ("text-embedding-005", "text-embedding", "text_embed"),
        ("text-embedding-004", "text-embedding", "text_embed"),
        ("text-multilingual-embedding-002", "text-embedding", "text_embed"),
        ("textembedding-gecko@003", "text-embedding", "text_embed"),
        ("textembedding-gecko-multilingual@001", "text-embedding", "text_embed"),
    ],
)
def test_vertex(model: str, name: str, dialect: str) -> None:
    """Ids and resource names find one row."""
    path = f"publishers/{vertex_family(model).publisher}/models/{model}"
    for spelling in (model, path, f"projects/x/locations/y/{path}"):
        family = vertex_family(spelling)
        assert (family.name, family.dialect) == (name, dialect)


@pytest.mark.parametrize(
    "model",
    [
        "amazon.nova-canvas-v1:0",
        "amazon.titan-text-express-v1",
        "cohere.command-light-text-v14",
        "amazon.nova-2-multimodal-embeddings-v1:0",
        "amazon.nova-2-sonic-v1:0",
        "gpt-4o",
        "arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/abc123",
        "arn:aws:bedrock:us-east-1:111122223333:provisioned-model/abc123",
        "",
    ],
)
def test_unknown_models_are_told_the_remedy(model: str) -> None:
    """What no row matches is refused, naming the connection's field; private names tell nothing by themselves."""
    with pytest.raises(ConfigurationError, match="model_families"):
        bedrock_family(model)


def test_overrides() -> None:
    """The connection's word wins, also over a row that matches; a family that is none is refused."""
    arn = "arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/abc123"
    assert bedrock_family(arn, {arn: "claude-4.5"}).dialect == "anthropic"
    assert bedrock_family("amazon.nova-lite-v1:0", {"amazon.nova-lite-v1:0": "mistral"}).name == "mistral"
    assert vertex_family("my-model", {"my-model": "gemini"}).dialect == "gemini"
    with pytest.raises(ConfigurationError, match="banana"):
        bedrock_family("m", {"m": "banana"})


def test_names_are_unique() -> None:
    """A name stands for one row of its table."""
    for table in (BEDROCK, VERTEX):
        assert len({family.name for family in table}) == len(table)


def test_facts_that_exclude_each_other() -> None:
    """Converse is asked for by its invocation type."""
    for family in (*BEDROCK, *VERTEX):
        assert (family.dialect == "converse") == (family.invocation == "Converse")
