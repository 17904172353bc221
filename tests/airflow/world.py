"""Fakes of every provider behind Airflow connections, and as much of a task as an operator uses."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import httpx
from airflow.sdk.exceptions import TaskDeferred

from airflow_batch_provider.testing import FaultPlan, fake_route

CONNECTIONS = (
    "local_batch",
    "openai_batch",
    "azure_openai_batch",
    "truefoundry_batch",
    "portkey_virtual_key",
    "portkey_slug",
)


def request(number, **body):
    message = {"role": "user", "content": f"say {number} \u2028 grüß"}
    return {
        "custom_id": f"row-{number}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "m", "messages": [message], **body},
    }


def write(path: Path, lines) -> str:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


class TaskInstance:
    """As much of a task instance as an operator uses."""

    def __init__(self, try_number=1, map_index=-1, run_id="run"):
        self.dag_id, self.task_id, self.run_id = "dag", "task", run_id
        self.map_index, self.try_number = map_index, try_number
        self.pushed = {}

    def xcom_push(self, key, value):
        self.pushed[key] = value


@contextlib.contextmanager
def provider(name: str, faults: FaultPlan | None = None, **rules):
    """A fake provider and the Airflow connection to it."""
    route_name = {"portkey_virtual_key": "portkey"}.get(name, name.removesuffix("_batch"))
    with fake_route(route_name, faults, **rules) as route:
        yield route.fake, route.connection


def resume(operator, context, seconds=30.0):
    """Execute and go on, as worker and triggerer would by turns.

    :return: what the task returned and the triggers it waited in.
    """
    triggers = []
    work = operator.execute
    arguments = ()
    while True:
        try:
            return work(context, *arguments), triggers
        except TaskDeferred as deferred:  # noqa: PERF203 - waiting is one
            trigger = type(deferred.trigger)(**deferred.trigger.serialize()[1])
            triggers.append(trigger)
            event = asyncio.run(asyncio.wait_for(anext(trigger.run()), seconds))
            work, arguments = getattr(operator, deferred.method_name), (event.payload,)


def curl_batch(fake, lines) -> str:
    """A batch made without any of this package, by plain HTTP.

    :return: its id.
    """
    headers = {"Authorization": f"Bearer {fake.api_key}"}
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    with httpx.Client(base_url=fake.base_url, headers=headers) as client:
        made = client.post("/files", data={"purpose": "batch"}, files={"file": ("x.jsonl", content)}).json()
        body = {"input_file_id": made["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        return client.post("/batches", json=body).json()["id"]


def rows(run_path):
    """custom_id, status, content, finish reason and usage of every result, in order."""
    found = []
    for part in sorted((Path(run_path) / "results").iterdir()):
        for raw in part.read_bytes().split(b"\n")[:-1]:
            line = json.loads(raw)
            body = line["response"]["body"]
            choice = body["choices"][0]
            usage = {name: body["usage"][name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
            content = choice["message"]["content"]
            status = line["response"]["status_code"]
            found.append((line["custom_id"], status, content, choice["finish_reason"], tuple(usage.items())))
    return found
