"""Media in an answer, as OpenAI-shaped services give them.

Pictures are the message's ``images``, each ``{"type": "image_url", "image_url": {"url": "data:..."}, "index"}``: the
form of OpenRouter ("Image Generation"), Vercel's AI Gateway and LiteLLM, for OpenAI's chat completions have none of
their own. Sound is OpenAI's ``message.audio`` with one member more, ``mime_type``, for raw samples need their rate.
"""

from __future__ import annotations

import base64
import hashlib

from airflow_batch_provider.core.records import JSON


class Media:
    """Collects the media of one message, in the order of the provider's parts."""

    def __init__(self) -> None:
        self._images: list[JSON] = []
        self._sounds: list[bytes] = []
        self._sound_type = ""

    def take(self, media_type: object, data: object) -> bool:
        """Take one object.

        :param data: base64 text.
        :return: False for what OpenAI's format has no place for, such as video, or a second sound of another type.
        """
        if not isinstance(media_type, str) or not isinstance(data, str) or not data:
            return False
        if media_type.startswith("image/"):
            url = f"data:{media_type};base64,{data}"
            self._images.append({"type": "image_url", "image_url": {"url": url}, "index": len(self._images)})
            return True
        if not media_type.startswith("audio/") or self._sound_type not in ("", media_type):
            return False
        try:
            self._sounds.append(base64.b64decode(data, validate=True))
        except ValueError:
            return False
        self._sound_type = media_type
        return True

    def fields(self) -> JSON:
        """The members of the message; none without media."""
        made: JSON = {"images": self._images} if self._images else {}
        if self._sounds:
            sound = b"".join(self._sounds)
            made["audio"] = {
                "id": "audio_" + hashlib.blake2b(sound, digest_size=12).hexdigest(),
                "data": base64.b64encode(sound).decode(),
                # The sound is here and does not expire.
                "expires_at": 0,
                "transcript": "",
                "mime_type": self._sound_type,
            }
        return made
