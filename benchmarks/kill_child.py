"""The processes that the kill test kills: a zygote that has all heavy imports behind it, and the attempts it forks.

The zygote is started once, has no threads, and forks one child for each order, so that an attempt begins in
milliseconds. A child runs a :class:`BatchRun` as a worker does, and tells through a pipe where it stands::

    +run            the run begins            -create     the answer of a create is there
    +ledger run.json                          =done       the last word of a child that lived
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from airflow_batch_provider.core import polling, refusals, submission
from airflow_batch_provider.core.errors import BatchInferenceError, LostCreateError, ProviderError
from airflow_batch_provider.core.records import Found, RunOptions
from airflow_batch_provider.run import collect, results
from airflow_batch_provider.run.run import BatchRun, Done
from airflow_batch_provider.run.storage import RunDirectory

POLL_SECONDS = 0.05
LOOK_AGAIN_SECONDS = 0.1
LONGEST_PAUSE = 0.1
REFUSED_PAUSES = (0.1, 0.4)
DOUBT_SECONDS = 60.0
MESSAGE_BYTES = 60_000
HEAVY = (
    "airflow.sdk",
    "google.cloud.aiplatform_v1",
    "google.cloud.storage",
    "openai",
    *(f"airflow_batch_provider.hooks.{name}" for name in ("azure_openai", "bedrock", "portkey", "vertex_ai")),
)


class Reporter:
    """Tells the parent where this process stands; a write that cannot be torn, and no more."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def say(self, word: str) -> None:
        os.write(self._handle, f"{word}\n".encode())

    @contextlib.contextmanager
    def inside(self, point: str) -> Iterator[None]:
        self.say(f"+{point}")
        try:
            yield
        finally:
            self.say(f"-{point}")

    def wrap(self, point: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.inside(point):
                return call(*args, **kwargs)

        return wrapped


class ReportingDirectory(RunDirectory):
    """A run directory that tells of each write to the ledger."""

    def __init__(self, path: str, reporter: Reporter) -> None:
        super().__init__(path)
        self._reporter = reporter

    def create_json(self, name: str, value: Any) -> bool:
        with self._reporter.inside(f"ledger {name}"):
            return super().create_json(name, value)

    def write_json(self, name: str, value: Any) -> None:
        with self._reporter.inside(f"ledger {name}"):
            super().write_json(name, value)


# ---- one attempt ---------------------------------------------------------------------------------------------------


def attempt(order: Any, reporter: Reporter) -> None:
    """Begin, or go on with, the run that is ordered, until it is done."""
    run = _make_run(order, reporter)
    reporter.say("+run")
    run.begin(first_try=order.first_try)
    while not isinstance(outcome := run.advance(), Done):
        _wait(run, outcome)


def _make_run(order: Any, reporter: Reporter) -> BatchRun:
    backend = _backend(order)
    backend.find_settle_seconds = order.settle
    submission.LOOK_AGAIN_SECONDS = LOOK_AGAIN_SECONDS
    refusals._PAUSES = REFUSED_PAUSES
    polling.DOUBT_SECONDS = DOUBT_SECONDS
    polling.SHORTEST_DOUBT_PAUSE = polling.LONGEST_DOUBT_PAUSE = LOOK_AGAIN_SECONDS
    if order.sabotage == "blind":
        backend.find = lambda *_, **__: Found((), True)
        backend.find_settle_seconds = 0
    backend.create = reporter.wrap("create", backend.create)
    for module, name in ((collect, "collect"), (results, "summarise")):
        setattr(module, name, reporter.wrap("collect", getattr(module, name)))
    return BatchRun(
        ReportingDirectory(order.folder, reporter),
        backend,
        RunOptions(on_lost_create="resubmit" if order.sabotage else order.on_lost_create),
        run_key=order.run_key,
        conn_id=order.route,
        input_path=order.input_path,
        pause=lambda seconds: time.sleep(min(seconds, LONGEST_PAUSE)),
    )


def _backend(order: Any) -> Any:
    """As :meth:`FakeRoute.backend` makes it, in this process."""
    from airflow_batch_provider.testing.routes import FakeRoute

    return FakeRoute(order.route, None, order.connection, "", 1).backend()


def _wait(run: BatchRun, waiting: Any) -> None:
    """Wait as ``RunOperator.wait_here`` does."""
    started, failures = time.time(), 0
    while True:
        seen: Any
        try:
            seen = [run.backend.retrieve(job_id) for job_id in waiting.jobs]
            failures = 0
        except BatchInferenceError as error:
            seen, failures = error, failures + 1
        decision = polling.decide(
            seen, rule=waiting.rule, now=time.time(), started=started, poll_interval=POLL_SECONDS, failures=failures
        )
        if isinstance(decision, polling.Wake):
            if decision.reason == "polling_failed":
                raise RuntimeError(decision.message)
            return
        time.sleep(decision.seconds)


# ---- the zygote ----------------------------------------------------------------------------------------------------


def _child(order: Any, handle: int) -> None:
    """What the forked process does; it ends without cleaning up anything of the zygote's."""
    reporter = Reporter(handle)
    word, code = "=done", 0
    try:
        logging.basicConfig(filename=order.log, level=logging.INFO, force=True, format="%(asctime)s %(message)s")
        logging.getLogger("httpx").setLevel(logging.WARNING)
        attempt(order, reporter)
    except LostCreateError as error:
        word, code = "=refused " + str(error).replace("\n", " "), 3  # a report is one line
    except ProviderError as error:
        word, code = f"=later {error}", 4
    except BaseException as error:  # whatever it was, the parent is told
        logging.exception("the attempt failed")
        word, code = f"=error {type(error).__name__}: {error}", 1
    with contextlib.suppress(OSError):
        reporter.say(word.replace("\n", " ")[:3000])
    os._exit(code)


def serve(line: socket.socket) -> None:
    """Fork and reap as told, until the parent is gone; then nothing is left behind."""
    children: set[int] = set()
    try:
        while True:
            data, handles, _, _ = socket.recv_fds(line, MESSAGE_BYTES, 1)
            if not data:
                return
            told = json.loads(data)
            if told["do"] == "reap":
                _, status = os.waitpid(told["pid"], 0)
                children.discard(told["pid"])
                line.send(json.dumps({"status": status}).encode())
                continue
            pid = os.fork()
            if pid == 0:
                line.close()
                _child(SimpleNamespace(**told["order"]), handles[0])
            children.add(pid)
            os.close(handles[0])
            line.send(json.dumps({"pid": pid}).encode())
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _import_everything() -> None:
    for name in HEAVY:
        importlib.import_module(name)
    import boto3

    boto3.Session(aws_access_key_id="x", aws_secret_access_key="x", region_name="us-east-1").client("s3").close()


def main() -> None:
    line = socket.socket(fileno=int(sys.argv[1]))
    _import_everything()
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise RuntimeError(f"the zygote has {threads} threads; a fork of it would not be whole")
    gc.collect()
    gc.freeze()
    line.send(b'{"ready": true}')
    serve(line)


if __name__ == "__main__":
    main()
