"""The steps of a run as operators of their own, also for batches that were created outside Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batch_provider.core.counts import counted, read_whole_guard
from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.records import JSON, RunOptions
from airflow_batch_provider.operators.base import RunOperator
from airflow_batch_provider.operators.connected import ConnectedOperator, checked_directory, key_of, path_of
from airflow_batch_provider.operators.errors import airflow_errors

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_batch_provider.run.run import BatchRun


class BatchInferenceFetchOperator(RunOperator):
    """Wait for the jobs of a run, then fetch, reconcile and write its results.

    Returns what :class:`BatchInferenceOperator` returns. It never creates a job.

    :param run_path: the run directory of a submitting task; or
    :param batch_id: the provider's id of a batch created outside Airflow, with ``conn_id`` and ``output_path``.
    :param output_path: the run directory to write for ``batch_id``.
    :param error_tolerance: share of rows, 0 to 1, that may end unsuccessful.
    """

    template_fields = ("run_path", "batch_id", "conn_id", "output_path", "error_tolerance")

    def __init__(
        self,
        *,
        run_path: str | None = None,
        batch_id: str | None = None,
        output_path: str | None = None,
        allow_local_path: bool = False,
        cancel_on_kill: bool = False,
        error_tolerance: float | str = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(cancel_on_kill=cancel_on_kill, **kwargs)
        self.error_tolerance = error_tolerance
        self.run_path = run_path
        self.batch_id = batch_id
        self.output_path = output_path
        self.allow_local_path = allow_local_path
        self._own_folder = "map_index" in str(output_path)

    def execute(self, context: Context) -> JSON:
        """Go on with the run until it has ended."""
        self._ti = context["ti"]
        with airflow_errors():
            run = self.resumed(context)
            run.more_time()
            return self.go_on(run)

    def resumed(self, context: Context) -> BatchRun:
        """The run that was submitted, or one around the batch that was created outside Airflow."""
        if bool(self.run_path) == bool(self.batch_id):
            raise ConfigurationError("give either run_path, or batch_id with conn_id and output_path")
        if self.run_path and self.output_path:
            raise ConfigurationError("output_path goes with batch_id; the results of run_path are written in run_path")
        if self.run_path:
            return self.follow(self.run_path, self.conn_id)
        if not self.output_path:
            raise ConfigurationError("output_path is missing; set it to a folder for the results of batch_id")
        from airflow_batch_provider.run.attach import attach

        path = path_of(self.output_path, context, own_folder=self._own_folder)
        directory = checked_directory(path, allow_local_path=self.allow_local_path)
        run = self.open(directory, RunOptions(rounds=1), run_key=key_of(context))
        attach(run, str(self.batch_id))
        return run


class BatchInferenceCancelOperator(ConnectedOperator):
    """Cancel the jobs of a run, or one batch; the rows that were answered before can still be fetched.

    Returns the ids of the jobs whose cancel request was sent.

    :param run_path: the run directory of a submitting task; or
    :param batch_id: the provider's id, with ``conn_id``.
    """

    template_fields = ("run_path", "batch_id", "conn_id")

    def __init__(self, *, run_path: str | None = None, batch_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.run_path = run_path
        self.batch_id = batch_id

    def execute(self, context: Context) -> list[str]:
        """Cancel."""
        with airflow_errors():
            if bool(self.run_path) == bool(self.batch_id):
                raise ConfigurationError("give either run_path, or batch_id with conn_id")
            if self.run_path:
                cancelled = self.follow(self.run_path, self.conn_id).cancel()
            else:
                if not self.conn_id:
                    raise ConfigurationError("conn_id is missing; set it to the connection of batch_id")
                cancelled = [str(self.batch_id)]
                self.hook(self.conn_id).backend.cancel(cancelled[0])
            if cancelled:
                self.log.info("Cancelling %s: %s", counted(len(cancelled), "job"), cancelled)
            else:
                self.log.info("No job is running, so none is cancelled")
            return cancelled


class BatchInferenceValidateOperator(ConnectedOperator):
    """Check a JSONL against the limits and formats of a connection's provider, without calling it.

    Fails with every problem by line number; returns ``input_path``, ``rows``, ``bytes``, ``models``, ``shards``,
    ``waves``, ``input_tokens`` ``[low, high]``, ``output_tokens`` at most or None, and ``cost_usd`` ``[low, high]``, or
    None where a price or the length of an answer is unknown.

    :param input_path: the JSONL.
    :param conn_id: the connection; its type gives the limits, its fields the models.
    :param model: as in :class:`BatchInferenceOperator`.
    :param endpoint: as in :class:`BatchInferenceOperator`.
    :param expected_output_tokens: as in :class:`BatchInferenceOperator`; used for the range of the cost.
    """

    template_fields = ("input_path", "conn_id", "model", "endpoint", "expected_output_tokens")

    def __init__(
        self,
        *,
        input_path: str,
        conn_id: str,
        model: str | None = None,
        endpoint: str | None = None,
        expected_output_tokens: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(conn_id=conn_id, **kwargs)
        self.input_path = input_path
        self.model = model
        self.endpoint = endpoint
        self.expected_output_tokens = expected_output_tokens
        self._guarded = expected_output_tokens is not None

    def execute(self, context: Context) -> JSON:
        """Read the file once."""
        from airflow_batch_provider.run.preview import Plan

        with airflow_errors():
            given = self.expected_output_tokens
            expected = read_whole_guard("expected_output_tokens", given, "tokens") if self._guarded else None
            options = RunOptions(
                model=self.model or None, endpoint=self.endpoint or None, expected_output_tokens=expected
            )
            plan = Plan.of(self.input_path, self.hook(str(self.conn_id)).backend, options)
        for warning in plan.warnings:
            self.log.warning(warning)
        self.log.info("Plan for %s; nothing was sent:\n%s", self.input_path, plan.table())  # a table begins its line
        summary = plan.as_json()
        return {
            "input_path": self.input_path,
            "shards": len(plan.shards),
            "waves": len(plan.waves),
            **{
                name: summary[name] for name in ("rows", "bytes", "models", "input_tokens", "output_tokens", "cost_usd")
            },
        }
