"""Facts of models, once, each row with its source: what a provider's model takes and what it refuses.

A provider decides as much as a model does: the same model may take a schema from Anthropic and refuse it on Bedrock. So
the tables are by provider, and an unknown newer model gets a row of its own: only forms that none of its known siblings
refuses, and a warning that names the connection's ``model_facts``.
"""

from airflow_batch_provider.dialects.facts.lookup import facts_of
from airflow_batch_provider.dialects.facts.overrides import ModelFacts, check_model_facts
from airflow_batch_provider.dialects.facts.record import Facts

__all__ = ["Facts", "ModelFacts", "check_model_facts", "facts_of"]
