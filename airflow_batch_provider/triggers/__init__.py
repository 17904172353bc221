"""Triggers: wait without a worker slot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batch_provider.core.exports import lazy

if TYPE_CHECKING:
    from airflow_batch_provider.triggers.batch_inference import BatchInferenceTrigger

__all__ = ["BatchInferenceTrigger"]
__getattr__ = lazy(__name__, {"BatchInferenceTrigger": "batch_inference"})
