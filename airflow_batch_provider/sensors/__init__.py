"""Sensors: wait for batches that another task or tool has created."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batch_provider.core.exports import lazy

if TYPE_CHECKING:
    from airflow_batch_provider.sensors.batch_inference import BatchInferenceSensor

__all__ = ["BatchInferenceSensor"]
__getattr__ = lazy(__name__, {"BatchInferenceSensor": "batch_inference"})
