"""Gemini on Vertex AI."""

from __future__ import annotations

from airflow_batch_provider.dialects.facts.record import Facts, Row

VERTEX: tuple[Row, ...] = (
    Row(r"gemini-embedding.*", Facts("Google, text embeddings")),
    Row(r"gemini-[12](?!\d).*", Facts("Google, Gemini models", schema="native", thinking="budget")),
    Row(r"gemini.*", Facts("Google, Gemini models", schema="native", thinking="level")),
)
