"""Uploads on OpenAI's wire, which end by themselves where the provider can do that."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import unquote

from airflow_batch_provider.backends.wire.errors import NOT_JSON, from_sdk
from airflow_batch_provider.core.errors import ProviderError, RequestRejectedError

if TYPE_CHECKING:
    import openai

log = logging.getLogger(__name__)
UPLOAD_SECONDS = 14 * 86_400
"""How long an upload is kept: far longer than a batch runs and a failed task is cleared. OpenAI takes 1 hour to 30 days
(its SDK, ``file_create_params``), Azure 14 to 30 days for batch files; without it Azure is full at 500 files
(Azure/azure-sdk-for-java#47401)."""


def send_file(client: openai.OpenAI, name: str, stream: BinaryIO, headers: Mapping[str, str], life: int | None) -> str:
    """Upload a file, streaming.

    :param life: seconds after which it ends; a provider that refuses the parameter is sent the file without it.
    :return: its id.
    """
    if life is None:
        return _sent(client, name, stream, headers, {})
    start = stream.tell()
    try:
        return _sent(client, name, stream, headers, {"expires_after": {"anchor": "created_at", "seconds": life}})
    except RequestRejectedError as error:
        if "expires_after" not in str(error):
            raise
        log.warning("The upload is sent again without expires_after, which the provider refused: %s", error)
    stream.seek(start)
    return _sent(client, name, stream, headers, {})


def _sent(
    client: openai.OpenAI, name: str, stream: BinaryIO, headers: Mapping[str, str], more: Mapping[str, Any]
) -> str:
    import openai

    call = "POST /files"
    try:
        answer: Any = client.files.create(file=(name, stream), purpose="batch", extra_headers=headers, **more)
    except (openai.APIError, *NOT_JSON) as error:
        raise from_sdk(call, error) from error
    file_id = getattr(answer, "id", None)
    if not isinstance(file_id, str) or not file_id:
        raise ProviderError(f"{call}: the answer has no file id")
    return unquote(file_id)
