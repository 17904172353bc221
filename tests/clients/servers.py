"""Our servers, looked at from outside by plain HTTP: whatever a client's own class tells, this is what is there."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing

import httpx
from airflow.sdk.exceptions import TaskDeferred

from tests.airflow.world import TaskInstance
from tests.patience import PATIENCE

CHAT = "/v1/chat/completions"
TERMINAL = ("completed", "failed", "expired", "cancelled")


class Watched:
    """The batches that came to a server since this was made.

    :param url: its base URL.
    :param key: what it lets in.
    """

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.key = key
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, trust_env=False)
        self._before = {batch["id"] for batch in self._listed()}

    def connection(self, conn_type: str) -> str:
        """An Airflow connection to it, of a type that is not ours."""
        return json.dumps({"conn_type": conn_type, "host": self.url, "password": self.key})

    def batches(self) -> list[dict]:
        """The new ones, oldest first."""
        return [batch for batch in reversed(self._listed()) if batch["id"] not in self._before]

    def batch(self) -> dict:
        """The only new one."""
        (one,) = self.batches()
        return one

    def ended(self, batch_id: str) -> dict:
        """The batch, when it has come to an end."""
        end = time.monotonic() + PATIENCE
        while (batch := self._json(f"/batches/{batch_id}"))["status"] not in TERMINAL:
            assert time.monotonic() < end, batch
            time.sleep(0.02)
        return batch

    def lines(self, file_id: str | None) -> list[dict]:
        """The lines of a file; none when there is no file."""
        content = self._http.get(f"/files/{file_id}/content").raise_for_status().content if file_id else b""
        return [json.loads(line) for line in content.split(b"\n") if line]

    def answers(self, batch: dict) -> dict[str, str]:
        """custom_id and what was answered."""
        lines = self.lines(batch["output_file_id"])
        told = {line["custom_id"]: line["response"]["body"]["choices"][0]["message"]["content"] for line in lines}
        assert len(told) == len(lines)
        return told

    def file(self, file_id: str) -> dict:
        """A file's own object."""
        return self._json(f"/files/{file_id}")

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def _listed(self) -> list[dict]:
        page = self._json("/batches?limit=100")
        assert not page["has_more"]
        return page["data"]

    def _json(self, path: str) -> dict:
        return self._http.get(path).raise_for_status().json()


def request(number: int, url: str = CHAT, **body: object) -> dict:
    """A request line, in the words that it is answered with."""
    body = body or {"model": "m", "messages": [{"role": "user", "content": said(number)}]}
    return {"custom_id": f"row-{number}", "method": "POST", "url": url, "body": body}


def said(number: int) -> str:
    """What a row says: with what may tear a line in two when it is read carelessly."""
    return f'say {number}: grüß \u2028 \u0085 "quoted"\nsecond line'


def jsonl(lines: list[dict]) -> bytes:
    """A file of these lines."""
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def context() -> dict:
    """As much of a task's context as their operators use."""
    ti = TaskInstance()
    return {"ti": ti, "task_instance": ti}


def run(operator) -> tuple:
    """Execute the operator and go on when its trigger fires, as worker and triggerer would.

    :return: what the task returned and the triggers it waited in.
    """
    try:
        return operator.execute(context()), []
    except TaskDeferred as deferred:
        trigger = type(deferred.trigger)(**deferred.trigger.serialize()[1])
        event = asyncio.run(asyncio.wait_for(_fired(trigger), 30))
        return getattr(operator, deferred.method_name)(context(), event.payload), [trigger]


async def _fired(trigger):
    async with aclosing(trigger.run()) as events:
        return await anext(events)
