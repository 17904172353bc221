"""Made ``run/``, ``in.jsonl``, ``provider.json`` and ``trigger.json`` beside this file, once, with the code of commit
f421530: ``git archive f421530 | tar -x -C OLD; cd OLD; python .../make.py FOLDER``. It is not run again: the files are
what that version wrote, not what any later one would.

``task.json`` has the arguments of the task. Six rows for two models, one job at a time. Round 0 is collected: row-1 and
row-4 failed with 500, row-2 with 400. Of round 1 the first job is in flight and the second one is not sent.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from airflow.models.trigger import Trigger
from airflow.sdk.exceptions import TaskDeferred

from airflow_batch_provider.operators.batch_inference import BatchInferenceOperator
from airflow_batch_provider.testing import FaultPlan
from tests.airflow.world import TaskInstance, provider, write

MODELS = ("m", "m", "m", "n", "n", "n")


def line(number: int) -> dict:
    message = {"role": "user", "content": f"say {number}"}
    body = {"model": MODELS[number], "messages": [message]}
    return {"custom_id": f"row-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}


def main(folder: Path) -> None:
    task = BatchInferenceOperator(
        input_path=write(folder / "in.jsonl", [line(number) for number in range(6)]),
        output_path=str(folder / "run"),
        **json.loads(Path(__file__).with_name("task.json").read_text()),
    )
    failing = FaultPlan(fail_rows={"row-1": 500, "row-2": 400, "row-4": 500})
    with provider("openai_batch", failing) as (fake, connection):
        os.environ["AIRFLOW_CONN_PROVIDER"] = json.dumps(connection)
        work, event, waits = task.execute, (), 0
        while True:
            try:
                work({"ti": TaskInstance()}, *event)
            except TaskDeferred as wait:  # noqa: PERF203 - as in tests.airflow.world
                deferred = wait
                waits += 1
                if waits == 3:
                    break
                fired = asyncio.run(anext(deferred.trigger.run())).payload
                work, event = getattr(task, deferred.method_name), (fired,)
                if waits == 2:
                    fake.faults.hold_after_rows = 0
        path, kwargs = deferred.trigger.serialize()
        row = {"classpath": path, "encrypted_kwargs": Trigger.encrypt_kwargs(kwargs)}
        if not row["encrypted_kwargs"].startswith("{"):
            from airflow.models.crypto import get_fernet

            row["encrypted_kwargs"] = get_fernet().decrypt(row["encrypted_kwargs"].encode()).decode()
        row |= {"method_name": deferred.method_name, "kwargs": deferred.kwargs}
        files = fake._store.list_files(100, None, None, True)
        content = {one["id"]: fake._store.path(one["id"]).read_text() for one in files}
        known = {"files": files, "content": content, "batches": fake.batches}
        origin = fake.origin
    (folder / "trigger.json").write_text(json.dumps(row, indent=1) + "\n")
    (folder / "provider.json").write_text(json.dumps(known, indent=1) + "\n")
    for file in folder.rglob("*.json*"):
        file.write_text(file.read_text().replace(origin, "ORIGIN").replace(str(folder), "FOLDER"))


main(Path(sys.argv[1]).resolve())
