"""What is printed while the demonstration waits."""

from __future__ import annotations

import time

import httpx

from airflow_batch_provider.testing.airflow_stack import AirflowStack, Run
from airflow_batch_provider.testing.processes import StackError
from airflow_batch_provider.testing.server_process import ServerProcess


class Clock:
    """Prints lines with the seconds since it was made."""

    def __init__(self) -> None:
        self.begun = time.monotonic()

    def __call__(self, text: str) -> None:
        """Print one line."""
        print(f"{time.monotonic() - self.begun:6.1f} s  {text}", flush=True)


class Progress:
    """Prints the tasks' states and the batch server's counts whenever they have changed.

    :param stack: the Airflow that runs it.
    :param run: the DAG run.
    :param server: the batch server.
    :param say: prints one line.
    """

    def __init__(self, stack: AirflowStack, run: Run, server: ServerProcess, say: Clock) -> None:
        self._stack, self._run, self._say = stack, run, say
        self._server = httpx.Client(headers={"Authorization": f"Bearer {server.token}"}, timeout=10)
        self._batches = f"{server.url}/batches"
        self._tasks = self._counts = ""
        self._counted = 0.0
        self._retried: set[str] = set()

    def __call__(self) -> None:
        """Look once.

        :raises StackError: with the end of its log, when a task has failed for good.
        """
        instances = self._stack.task_instances(self._run)
        tasks = "  ".join(f"{each['task_id']}: {each['state'] or '-'}" for each in instances)
        if tasks != self._tasks:
            self._tasks = tasks
            self._say(tasks)
        for each in instances:
            task = each["task_id"]
            if each["state"] == "failed":
                raise StackError(f"task {task} has failed; the end of its log:\n{self._end_of_log(task)}")
            if each["state"] == "up_for_retry" and task not in self._retried:
                self._retried.add(task)
                self._say(f"task {task} is tried again in half a minute; the end of its log:\n{self._end_of_log(task)}")
        if time.monotonic() - self._counted > 2 and any(each["state"] == "deferred" for each in instances):
            self._counted = time.monotonic()
            self._count()

    def _end_of_log(self, task_id: str) -> str:
        return "\n".join(self._stack.log(self._run, task_id).split("\n")[-40:])

    def _count(self) -> None:
        batches = self._server.get(self._batches, params={"limit": 1}).json()["data"]
        if not batches:
            return
        counts = batches[0]["request_counts"]
        line = f"        batch {batches[0]['status']}: {counts['completed']} of {counts['total']} answered"
        if line != self._counts:
            self._counts = line
            self._say(line)
