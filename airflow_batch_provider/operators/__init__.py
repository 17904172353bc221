"""Operators: a whole run in one task, or its steps in separate tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batch_provider.core.exports import lazy

if TYPE_CHECKING:
    from airflow_batch_provider.operators.batch_inference import BatchInferenceOperator, BatchInferenceSubmitOperator
    from airflow_batch_provider.operators.prepare import BatchInferencePrepareOperator
    from airflow_batch_provider.operators.steps import (
        BatchInferenceCancelOperator,
        BatchInferenceFetchOperator,
        BatchInferenceValidateOperator,
    )

__all__ = [
    "BatchInferenceCancelOperator",
    "BatchInferenceFetchOperator",
    "BatchInferenceOperator",
    "BatchInferencePrepareOperator",
    "BatchInferenceSubmitOperator",
    "BatchInferenceValidateOperator",
]
__getattr__ = lazy(
    __name__,
    {
        "BatchInferenceCancelOperator": "steps",
        "BatchInferenceFetchOperator": "steps",
        "BatchInferenceOperator": "batch_inference",
        "BatchInferencePrepareOperator": "prepare",
        "BatchInferenceSubmitOperator": "batch_inference",
        "BatchInferenceValidateOperator": "steps",
    },
)
