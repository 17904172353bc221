"""Lines of the open models on Vertex AI: OpenAI's own, of text.

Google, "Batch predictions" (MaaS): the fields are OpenAI's, and prompts are "text-only". A model that sees no images
refuses them after the upload; for one that does, it is not documented what a batch does with them.
"""

from __future__ import annotations

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import BatchRequest
from airflow_batch_provider.dialects.families import CHAT, Family
from airflow_batch_provider.dialects.openai import OpenAIFormat

_TEXT = ("text", "refusal", None)


class OpenModelLines(OpenAIFormat):
    """OpenAI's lines for one open model on Vertex AI.

    :param family: its family, with what is known of the model.
    """

    def __init__(self, family: Family, model: str, endpoint: str) -> None:
        super().__init__(model, endpoint, tokens=True)
        self._images = family.facts.images
        self._chat = endpoint == CHAT
        self._name = model

    def encode(self, request: BatchRequest, position: int) -> bytes:
        """The wire line; see :class:`~airflow_batch_provider.dialects.base.LineFormat`."""
        if self._chat:
            self._check_parts(request)
        return super().encode(request, position)

    def _check_parts(self, request: BatchRequest) -> None:
        for index, message in enumerate(request.body["messages"]):
            content = message.get("content")
            for number, part in enumerate(content if isinstance(content, list) else ()):
                kind = part.get("type") if isinstance(part, dict) else None
                if kind in _TEXT:
                    continue
                where = f"body.messages[{index}].content[{number}]"
                if not self._images or kind != "image_url":
                    raise UntranslatableError(where, f"{self._name} takes text only on Vertex AI; remove the {kind}")
                reason = "Google documents batches of open models for text only; it may refuse images"
                self.notes.setdefault("body.messages[].content[]", f"sent as it is for Vertex AI: {reason}")
