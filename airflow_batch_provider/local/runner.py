"""Carries batches from ``validating`` to their end, and takes them up again after a kill.

One event loop owns all state. A batch is a task of its own; over all batches the engine runs at most ``slots``
requests at a time. A status is in the database before anything happens that belongs to it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.local.checking import check_file, read_requests
from airflow_batch_provider.local.engines.base import Engine, Reply, error_body
from airflow_batch_provider.local.objects import (
    ApiError,
    batch_object,
    derived_id,
    file_object,
    lifetime,
    now,
    output_line,
    problem,
    unrun_line,
)
from airflow_batch_provider.local.policy import Hooks, Policy, Stop
from airflow_batch_provider.local.results import Results
from airflow_batch_provider.local.store import Store

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_SAVE_SECONDS = 1.0
_LONGEST_BACKOFF = 30.0


class Runner:
    """All batches of one server.

    :param store: what is remembered.
    :param engine: what answers.
    :param policy: the rules.
    :param hooks: where a fake departs from them.
    """

    def __init__(self, store: Store, engine: Engine, policy: Policy, hooks: Hooks | None = None) -> None:
        self.store = store
        self.engine = engine
        self.policy = policy
        self.hooks = hooks or Hooks()
        self.slots = asyncio.Semaphore(policy.slots)
        self._running: dict[str, _BatchTask] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def resume(self) -> None:
        """Take up what a killed server left behind."""
        for batch in self.store.unfinished():
            log.info("resuming batch %s, %s", batch["id"], batch["status"])
            self._launch(batch)

    def create(self, request: JSON) -> JSON:
        """Accept a batch; what is returned is how it stood at that moment."""
        batch = batch_object(request, self.policy.window if self.policy.expires else None)
        self.store.add_batch(batch)
        accepted = dict(batch)
        self._launch(batch)
        return accepted

    def get(self, batch_id: str) -> JSON | None:
        """A batch as it is now, counts to the last row."""
        running = self._running.get(batch_id)
        return running.batch if running else self.store.batch(batch_id)

    def cancel(self, batch_id: str) -> JSON:
        """Cancel a batch; cancelling again changes nothing."""
        running = self._running.get(batch_id)
        batch = self.get(batch_id)
        if batch is None:
            raise ApiError(404, f"No batch found with id '{batch_id}'.")
        if running is None or not running.cancel():
            if batch["status"] in {"cancelling", "cancelled"}:
                return batch
            raise ApiError(409, f"Cannot cancel a batch with status '{batch['status']}'.", code="invalid_status")
        return dict(running.batch)

    async def stop(self) -> None:
        """Leave every batch as it is, to be resumed by the next server."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _launch(self, batch: JSON) -> None:
        running = _BatchTask(self, batch)
        self._running[batch["id"]] = running
        task = asyncio.create_task(running.run(), name=batch["id"])
        self._tasks.add(task)

        def ended(_: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            del self._running[batch["id"]]

        task.add_done_callback(ended)


class _BatchTask:
    """One batch on its way."""

    def __init__(self, runner: Runner, batch: JSON) -> None:
        self.batch = batch
        self._runner = runner
        self._store = runner.store
        self._policy = runner.policy
        self._hooks = runner.hooks
        self._input = runner.store.path(batch["input_file_id"])
        self._output_id = derived_id(batch["id"], "output")
        self._error_id = derived_id(batch["id"], "errors")
        self._results = Results(self._store.path(self._output_id), self._store.path(self._error_id))
        self._cancelled = asyncio.Event()
        self._saved = time.monotonic()
        if batch["status"] == "cancelling":
            self._cancelled.set()

    async def run(self) -> None:
        """From where the batch is to its end."""
        try:
            if self.batch["in_progress_at"] is None and not await self._validate():
                return
            await _to_the_end(self._results.open)
            await self._finish(await self._ask_rows())
        except Exception as error:  # a full disk, a file deleted under the server: the batch fails, the server lives
            log.exception("batch %s cannot go on", self.batch["id"])
            self._fail([problem("server_error", f"The server had an error: {type(error).__name__}.")])
        finally:
            self._results.close(sync=False)

    def cancel(self) -> bool:
        """Start to stop; False when it is too late."""
        if self.batch["status"] not in {"validating", "in_progress"}:
            return False
        self._set_status("cancelling")
        self._cancelled.set()
        return True

    # validation

    async def _validate(self) -> bool:
        """Check the file; True when rows are to be answered."""
        errors = self._hooks.job_errors(self.batch)
        if not errors:
            found = await asyncio.to_thread(check_file, self._input, self.batch["endpoint"], self._policy)
            errors = found.problems
            self.batch["model"] = found.model
            self.batch["request_counts"]["total"] = 0 if errors else found.total
        if errors:
            self._fail(errors)
            return False
        self.batch["in_progress_at"] = now()
        if not self._cancelled.is_set():
            self._set_status("in_progress")
        return True

    def _fail(self, errors: list[JSON]) -> None:
        self.batch["errors"] = {"object": "list", "data": errors}
        self._set_status("failed", self._name_files())  # what was answered before is paid for, and can be fetched

    # rows

    async def _ask_rows(self) -> str:
        """Answer every row that has no line yet; returns the status the batch ends in."""
        self._update_counts()
        stop = self._hooks.stop(self.batch)
        rows = _Rows(self._input, self._results.tally.done, stop.after_rows if stop else None)
        if self._cancelled.is_set():
            rows.stopped.set()
        asking = asyncio.ensure_future(self._ask_all(rows))
        work = asyncio.ensure_future(self._await_end(asking, stop))
        cancelled = asyncio.ensure_future(self._cancelled.wait())
        try:
            await asyncio.wait({work, cancelled}, timeout=self._time_left(), return_when=asyncio.FIRST_COMPLETED)
            if work.done() and not self._cancelled.is_set():
                return work.result()
            rows.stopped.set()  # no further row is asked; those under way may end
            await asyncio.wait({asking}, timeout=self._policy.grace)
            return "cancelled" if self._cancelled.is_set() else "expired"
        finally:
            for task in (asking, work, cancelled):
                task.cancel()
            await asyncio.gather(asking, work, cancelled, return_exceptions=True)

    def _time_left(self) -> float | None:
        """Seconds until the batch expires, None for never."""
        if not self._policy.expires:
            return None
        return max(0.0, float(self.batch["expires_at"]) - time.time())

    async def _await_end(self, asking: asyncio.Future[None], stop: Stop | None) -> str:
        started = time.monotonic()
        await asyncio.wait({asking})
        asking.result()
        if stop is None:
            await asyncio.sleep(max(0.0, self._policy.run_seconds - (time.monotonic() - started)))
            return "completed"
        if stop.status is None:
            await self._cancelled.wait()
        return stop.status or "cancelled"

    async def _ask_all(self, rows: _Rows) -> None:
        await asyncio.gather(*(self._worker(rows) for _ in range(self._policy.slots)))

    async def _worker(self, rows: _Rows) -> None:
        """Answer one row after another, as long as there are any."""
        while True:
            async with self._runner.slots:
                request = rows.take()
                if request is None:
                    return
                reply = await self._ask(request, rows.stopped)
                if reply is not None:
                    self._write(output_line(request["custom_id"], reply.status, reply.body))
            await asyncio.sleep(0)  # an engine that never waits must not keep the server from answering

    async def _ask(self, request: JSON, stopped: asyncio.Event) -> Reply | None:
        """One row's answer, after as many attempts as it takes; None when the batch was stopped between two."""
        body = request["body"]
        if body.get("stream"):
            return Reply(400, error_body("'stream' cannot be true in a batch.", param="stream"))
        instead = self._hooks.answer(self.batch, request["custom_id"], body)
        if instead is not None:
            return instead
        endpoint = self._policy.canonical(request["url"])
        for attempt in range(1, self._policy.attempts + 1):
            reply = await answer(self._runner.engine, endpoint, body)
            if not reply.retryable or attempt == self._policy.attempts:
                return reply
            backoff = min(self._policy.backoff * 2 ** (attempt - 1), _LONGEST_BACKOFF)
            try:
                await asyncio.wait_for(stopped.wait(), backoff if reply.retry_after is None else reply.retry_after)
            except asyncio.TimeoutError:
                continue
            break
        return None

    def _write(self, line: JSON) -> None:
        try:
            self._put(line)
        except TypeError as error:  # an answer that is no JSON, such as half a surrogate pair
            message = f"The engine's answer cannot be written as JSON: {error}."
            self._results.write(line := output_line(line["custom_id"], 500, error_body(message)), line)
        self._update_counts()
        if time.monotonic() - self._saved > _SAVE_SECONDS:
            self._save()

    def _put(self, line: JSON) -> None:
        bare = self._hooks.bare_separators(self.batch)
        self._results.write(line, self._hooks.shape(self.batch, line), bare=bare)

    # the end

    async def _finish(self, end: str) -> None:
        """Write what was not run, make the files known and the end true, in one transaction."""
        if end == "completed":
            self._set_status("finalizing")
        unrun = await _to_the_end(self._write_unrun, end)
        if end == "expired" and not unrun:
            end = "completed"  # all its answers were there in time, as when the server was killed while finalizing
        self._update_counts()
        self.batch["usage"] = self._results.tally.usage()
        self._set_status(end, self._name_files())

    def _name_files(self) -> tuple[JSON, ...]:
        """The batch's files that hold anything, named in the batch; the others are removed."""
        files = []
        for key, path in (("output_file_id", self._results.output), ("error_file_id", self._results.errors)):
            size = path.stat().st_size if path.exists() else None
            kept = size or (size == 0 and key == "error_file_id" and self._hooks.always_error_file(self.batch))
            if size is None or not kept:
                path.unlink(missing_ok=True)
                continue
            self.batch[key] = path.name
            filename = f"{self.batch['id']}_{key.removesuffix('_file_id')}.jsonl"
            life = lifetime(self.batch["output_expires_after"])
            files.append(file_object(path.name, filename=filename, purpose="batch_output", size=size, life=life))
        return tuple(files)

    def _write_unrun(self, end: str) -> int:
        """Name the rows that were not run in the error file, and bring all bytes to the disk."""
        named = end == "expired" or (end == "cancelled" and self._hooks.reports_unrun(self.batch))
        unrun = 0
        if named and self.batch["in_progress_at"] is not None:
            for request in list_open(self._input, self._results.tally.done):
                self._put(unrun_line(request["custom_id"], end))
                unrun += 1
        self._results.close(sync=True)
        return unrun

    # the record

    def _update_counts(self) -> None:
        counts = self.batch["request_counts"]
        counts["completed"], counts["failed"] = self._results.tally.completed, self._results.tally.failed

    def _set_status(self, status: str, files: tuple[JSON, ...] = ()) -> None:
        self.batch["status"] = status
        self.batch[f"{status}_at"] = now()
        self._save(files)

    def _save(self, files: tuple[JSON, ...] = ()) -> None:
        self._store.save_batch(self.batch, files)
        self._saved = time.monotonic()


class _Rows:
    """The rows still to be answered, taken by several workers.

    :param done: the custom_ids that have a line already.
    :param most: how many rows are to have a line in the end; None for all.
    """

    def __init__(self, path: Path, done: set[str], most: int | None) -> None:
        self.stopped = asyncio.Event()
        self._left = None if most is None else max(0, most - len(done))
        self._rows = list_open(path, done)

    def take(self) -> JSON | None:
        """The next row, None when there is none or the batch was stopped."""
        if self.stopped.is_set() or self._left == 0:
            return None
        if self._left is not None:
            self._left -= 1
        return next(self._rows, None)


def list_open(path: Path, done: set[str]) -> Iterator[JSON]:
    """The requests of a file whose custom_id is not done, in the file's order."""
    return (request for request in read_requests(path) if request["custom_id"] not in done)


async def answer(engine: Engine, endpoint: str, body: JSON) -> Reply:
    """The engine's answer; an engine that breaks is an answer too, since one row must not end a batch."""
    if endpoint not in engine.endpoints:
        return Reply(400, error_body(f"The engine {engine.name!r} does not serve {endpoint}.", code="invalid_endpoint"))
    try:
        return await engine.answer(endpoint, body)
    except Exception as error:
        log.exception("the engine %s failed on one request", engine.name)
        return Reply(500, error_body(f"The engine failed: {type(error).__name__}.", kind="server_error"))


async def _to_the_end(function: Callable[..., _T], *args: object) -> _T:
    """Run in a thread; a cancelled task waits for it, since the files it writes are closed next."""
    job = asyncio.ensure_future(asyncio.to_thread(function, *args))
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        await asyncio.wait({job})
        raise
