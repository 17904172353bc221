"""The longest time that waiting runs keep one triggerer's event loop from everything else.

``python benchmarks/triggers.py [--triggers 100] [--latency 0.1] [--seconds 5]`` starts a fake provider in a process of
its own, so that it does not disturb the loop, and prints the longest stall, the first looks included.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

PROVIDER = """
import sys
from airflow_batch_provider.testing import FakeProvider, FaultPlan
with FakeProvider(flavor="openai", faults=FaultPlan(latency=float(sys.argv[1])), rules={"run_seconds": 3600}) as fake:
    print(fake.base_url, fake.api_key, flush=True)
    sys.stdin.read()
"""
BEAT = 0.005


def make_batches(url: str, key: str, count: int) -> list[str]:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
        content = json.dumps(line).encode()
        file = client.post("/files", data={"purpose": "batch"}, files={"file": ("a.jsonl", content)}).json()
        create = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        with ThreadPoolExecutor(count) as pool:
            return [*pool.map(lambda _: client.post("/batches", json=create).json()["id"], range(count))]


async def heartbeat(gaps: list[float]) -> None:
    last = time.perf_counter()
    while True:
        await asyncio.sleep(BEAT)
        now = time.perf_counter()
        gaps.append(now - last - BEAT)
        last = now


async def wait_together(batches: list[str], seconds: float) -> tuple[float, int]:
    """Run one trigger for each batch.

    :return: the longest stall in seconds, and how many progress looks were made.
    """
    from airflow_batch_provider.triggers.batch_inference import BatchInferenceTrigger

    looks = 0
    gaps: list[float] = []

    class Counted(BatchInferenceTrigger):
        async def _look(self):
            nonlocal looks
            looks += 1
            return await super()._look()

    def trigger(batch: str) -> BatchInferenceTrigger:
        deadline = time.time() + 3600
        return Counted(conn_id="bench", jobs=[batch], run_path="x", deadline=deadline, poll_interval=1.0)

    async def run(one: BatchInferenceTrigger) -> None:
        async for event in one.run():
            raise RuntimeError(f"no job ends in this benchmark: {event}")

    beating = asyncio.create_task(heartbeat(gaps))
    waiting = [asyncio.create_task(run(trigger(batch))) for batch in batches]
    await asyncio.sleep(seconds)
    stall = max(gaps)
    for task in [beating, *waiting]:
        task.cancel()
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        if not isinstance(result, asyncio.CancelledError):
            raise RuntimeError(f"a trigger ended: {result}")  # noqa: TRY004 - whatever it is
    return stall, looks


def measure(triggers: int = 100, latency: float = 0.1, seconds: float = 5.0) -> tuple[float, int]:
    """Start the provider, warm up what a triggerer has warm, and measure."""
    provider = subprocess.Popen(
        [sys.executable, "-c", PROVIDER, str(latency)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        url, key = provider.stdout.readline().split()
        os.environ["AIRFLOW_CONN_BENCH"] = json.dumps({"conn_type": "openai_batch", "host": url, "password": key})
        # A triggerer has all this loaded long before the first trigger of ours.
        import airflow.jobs.triggerer_job_runner  # noqa: F401
        from airflow.sdk import BaseHook
        from airflow.sdk.log import mask_secret

        mask_secret(BaseHook.get_connection("bench").password)
        # Airflow's own modules are a heap whose full collection takes 100 ms and more, whoever causes it; what is
        # measured is what waiting adds.
        gc.collect()
        gc.freeze()
        return asyncio.run(wait_together(make_batches(url, key, triggers), seconds))
    finally:
        provider.stdin.close()
        provider.wait(timeout=30)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--triggers", type=int, default=100)
    parser.add_argument("--latency", type=float, default=0.1)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    stall, looks = measure(arguments.triggers, arguments.latency, arguments.seconds)
    print(
        f"{arguments.triggers} waiting runs, API latency {arguments.latency * 1000:.0f} ms, {looks} looks in "
        f"{arguments.seconds:g} s: longest event-loop stall {stall * 1000:.1f} ms"
    )


if __name__ == "__main__":
    main()
