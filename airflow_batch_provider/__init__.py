"""Apache Airflow provider for LLM batch inference: one OpenAI-format JSONL, any provider, one durable task."""

__version__ = "0.1.0"
