"""Batch inference as Airflow tasks: the whole run in one operator, or its steps in separate tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_batch_provider.core.counts import read_guard, read_share, read_whole_guard
from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.exports import lazy
from airflow_batch_provider.core.records import JSON, OnDeadline, OnLostCreate, OnLostJob, OnUnusable, RunOptions
from airflow_batch_provider.operators.base import RunOperator
from airflow_batch_provider.operators.connected import checked_directory, image_policy, key_of, path_of
from airflow_batch_provider.operators.errors import airflow_errors

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_batch_provider.operators.prepare import BatchInferencePrepareOperator
    from airflow_batch_provider.operators.steps import (
        BatchInferenceCancelOperator,
        BatchInferenceFetchOperator,
        BatchInferenceValidateOperator,
    )
    from airflow_batch_provider.run.run import BatchRun

__all__ = [
    "BatchInferenceCancelOperator",
    "BatchInferenceFetchOperator",
    "BatchInferenceOperator",
    "BatchInferencePrepareOperator",
    "BatchInferenceSubmitOperator",
    "BatchInferenceValidateOperator",
]

__getattr__ = lazy(
    "airflow_batch_provider.operators",
    {
        "BatchInferenceCancelOperator": "steps",
        "BatchInferenceFetchOperator": "steps",
        "BatchInferencePrepareOperator": "prepare",
        "BatchInferenceValidateOperator": "steps",
    },
)

WORDS = {
    "on_lost_create": ("fail", "resubmit"),
    "on_lost_job": ("fail", "resubmit"),
    "on_changed_input": ("fail", "restart"),
    "on_deadline": ("fail", "cancel"),
    "on_unusable": ("keep", "invalid"),
}


_UNITS = {
    "max_cost_usd": "US dollars",
    "expected_output_tokens": "tokens",
    "max_jobs_in_flight": "jobs",
    "max_enqueued_tokens": "tokens",
    "timeout": "seconds",
}
"""The limits that an author may set, each templated, with their units."""


class BatchInferenceOperator(RunOperator):
    """Run one OpenAI-format JSONL on the provider of a connection, as one durable task.

    It validates, splits and uploads the file, creates the jobs, waits for them, fetches and reconciles the answers, and
    re-sends what a retry can fix. A retry, a cleared task and a restarted worker or triggerer continue the run; none of
    them pays again for rows that were answered.

    Returns, and pushes key by key, ``run_path, total, succeeded, invalid, failed, expired, cancelled, missing, empty,
    cut, refused, filtered, tool_calls, media, rounds, jobs, input_tokens, output_tokens, cost_usd, cost_unknown,
    seconds``.

    :param input_path: the JSONL, on any store; read when the run is planned, and by each retry to detect a change.
    :param output_path: the run directory, one for each run: put ``{{ run_id }}`` in it.
    :param conn_id: the connection; its type decides the backend.
    :param model: used instead of the lines' models.
    :param endpoint: used instead of the lines' ``url``, e.g. ``/v1/chat/completions``.
    :param deferrable: wait in the triggerer; False keeps the worker's slot.
    :param poll_interval: seconds between looks at the jobs.
    :param timeout: seconds a round may take; None for the provider's completion window plus two hours.
    :param on_deadline: when ``timeout`` is over: ``"fail"`` leaves the jobs running and names them, ``"cancel"`` stops
        them and keeps the answers so far. Neither is retried; a cleared task gets more time.
    :param rounds: at most how many times one try sends a row; the second round sends rows that expired, went missing or
        failed with 429 or 5xx. A new try, by ``retries`` or a cleared task, has new rounds for the rows that are still
        open: with ``retries=3`` and 2 rounds, a row that always fails is sent 8 times.
    :param error_tolerance: share of rows, 0 to 1, that may fail; a run without any success always fails.
    :param max_cost_usd: the most that the run may cost over all its rounds and tries, in US dollars. Nothing is sent
        whose upper estimate would exceed it; see ``docs/cost.md``. Refused where a price is unknown.
    :param expected_output_tokens: the longest answer to expect for a row without ``max_tokens``; required with
        ``max_cost_usd`` where there are such rows.
    :param max_jobs_in_flight: jobs that may run at once; None for the connection's limit.
    :param max_enqueued_tokens: estimated input tokens that may be enqueued at once for each model: larger files are
        split further and sent in waves. None for the connection's limit.
    :param on_lost_create: when a create call got no answer and the provider lists no such job for 15 minutes:
        ``"fail"`` says what to check, ``"resubmit"`` creates the job again.
    :param on_lost_job: when the provider has lost a job or its answers, after looks over 15 minutes: ``"fail"`` writes
        all other results and fails, and a cleared task looks again; ``"resubmit"`` sends the lost rows again, which may
        be billed twice.
    :param on_changed_input: when a new try finds another input: ``"fail"``, or ``"restart"`` to move the old answers to
        ``history/`` and send every row of the new input.
    :param on_unusable: how to count a row whose answer is empty, cut off at the token limit, refused by the model or
        stopped by a content filter: ``"keep"`` counts it as succeeded, and as ``empty``, ``cut``, ``refused`` or
        ``filtered``; ``"invalid"`` as invalid, which ``error_tolerance`` counts. The answer is kept in both cases.
    :param cancel_on_kill: cancel the jobs when the task is marked failed, success or skipped.
    :param wait_for_completion: False returns ``run_path`` and ``batch_ids`` once all jobs are created.
    :param download_images: fetch ``http`` and ``https`` images and send them inside the requests, for Bedrock and
        Vertex AI, whose batches fetch none; as in :class:`BatchInferencePrepareOperator`. Fetched images are kept in
        ``OUTPUT_PATH.images``, so that each later try sends the same ones.
    :param allow_local_path: allow a local ``output_path`` although tasks may run on several machines.
    :param backend_options: settings of this run for the connection's backend, without secrets:
        ``completion_window``, ``metadata``, ``extra_body``; unknown names are refused.
    """

    template_fields: Sequence[str] = (
        "input_path",
        "output_path",
        "conn_id",
        "model",
        "endpoint",
        "max_cost_usd",
        "expected_output_tokens",
        "max_jobs_in_flight",
        "max_enqueued_tokens",
        "timeout",
        "rounds",
        "error_tolerance",
        "backend_options",
    )
    template_fields_renderers = {"backend_options": "json"}  # noqa: RUF012 - as BaseOperator declares it
    ui_color = "#d7e8f7"

    def __init__(
        self,
        *,
        input_path: str,
        output_path: str,
        conn_id: str,
        model: str | None = None,
        endpoint: str | None = None,
        deferrable: bool = True,
        poll_interval: float = 60.0,
        timeout: float | str | None = None,
        on_deadline: OnDeadline = "fail",
        rounds: int | str = 2,
        error_tolerance: float | str = 0.0,
        max_cost_usd: float | str | None = None,
        expected_output_tokens: int | str | None = None,
        max_jobs_in_flight: int | str | None = None,
        max_enqueued_tokens: int | str | None = None,
        on_lost_create: OnLostCreate = "fail",
        on_lost_job: OnLostJob = "fail",
        on_changed_input: Literal["fail", "restart"] = "fail",
        on_unusable: OnUnusable = "keep",
        cancel_on_kill: bool = True,
        wait_for_completion: bool = True,
        download_images: bool | Mapping[str, Any] = False,
        allow_local_path: bool = False,
        backend_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            conn_id=conn_id,
            deferrable=deferrable,
            poll_interval=poll_interval,
            cancel_on_kill=cancel_on_kill,
            **kwargs,
        )
        self.wait_for_completion = wait_for_completion
        self.error_tolerance = error_tolerance
        self.input_path = input_path
        self.output_path = output_path
        self.model = model
        self.endpoint = endpoint
        self.timeout = timeout
        self.rounds = rounds
        self.max_cost_usd = max_cost_usd
        self.expected_output_tokens = expected_output_tokens
        self.max_jobs_in_flight = max_jobs_in_flight
        self.max_enqueued_tokens = max_enqueued_tokens
        self.on_deadline = on_deadline
        self.on_lost_create = on_lost_create
        self.on_lost_job = on_lost_job
        self.on_changed_input = on_changed_input
        self.on_unusable = on_unusable
        self.download_images = download_images
        self.allow_local_path = allow_local_path
        self.backend_options = backend_options
        self._own_folder = "map_index" in str(output_path)
        # A guard whose template renders to None must not look like one that was never set.
        self._guarded = frozenset(name for name in _UNITS if getattr(self, name) is not None)
        image_policy(download_images)

    def execute(self, context: Context) -> JSON:
        """Begin the run or continue it."""
        ti: Any = context["ti"]
        self._ti = ti
        with airflow_errors():
            self._check()
            run = self.resumed(context)
            if (policy := image_policy(self.download_images)) is not None:
                from airflow_batch_provider.images.inline import FOLDER, with_images

                run.input_path = with_images(self.input_path, f"{run.directory.uri}{FOLDER}", policy)
            run.begin(first_try=ti.try_number <= 1)
            ti.xcom_push(key="run_path", value=run.directory.uri)
            return self.go_on(run)

    def resumed(self, context: Context) -> BatchRun:
        """The run of this task, opened in its directory."""
        path = path_of(self.output_path, context, own_folder=self._own_folder)
        return self.open(
            checked_directory(path, allow_local_path=self.allow_local_path),
            self._options(),
            run_key=key_of(context),
            input_path=self.input_path,
        )

    def _options(self) -> RunOptions:
        return RunOptions(
            model=self.model or None,
            endpoint=self.endpoint or None,
            rounds=read_whole_guard("rounds", self.rounds, "rounds"),
            error_tolerance=read_share("error_tolerance", self.error_tolerance),
            timeout=self._guard("timeout"),
            max_cost_usd=self._guard("max_cost_usd"),
            expected_output_tokens=self._whole_guard("expected_output_tokens"),
            max_jobs_in_flight=self._whole_guard("max_jobs_in_flight"),
            max_enqueued_tokens=self._whole_guard("max_enqueued_tokens"),
            on_deadline=self.on_deadline,
            on_lost_create=self.on_lost_create,
            on_lost_job=self.on_lost_job,
            on_changed_input=self.on_changed_input,
            on_unusable=self.on_unusable,
            backend_options=dict(self.backend_options or {}),
        )

    def _guard(self, name: str) -> float | None:
        return read_guard(name, getattr(self, name), _UNITS[name]) if name in self._guarded else None

    def _whole_guard(self, name: str) -> int | None:
        return read_whole_guard(name, getattr(self, name), _UNITS[name]) if name in self._guarded else None

    def _check(self) -> None:
        if not self.retries:
            self.log.warning(
                "retries=0: if the worker dies, the run is not resumed, although its jobs keep running and billing. "
                "Set retries=3, retry_delay=timedelta(minutes=5); a retry never sends again rows that were answered."
            )
        # A misspelt value must not choose the one that pays again.
        for name, known in WORDS.items():
            if getattr(self, name) not in known:
                raise ConfigurationError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")
        self._options()


class BatchInferenceSubmitOperator(BatchInferenceOperator):
    """Validate, split, upload and create jobs, then end; a sensor and a fetch operator do the rest.

    Returns ``run_path`` and ``batch_ids``, the ids of all jobs of the run. Takes the arguments of
    :class:`BatchInferenceOperator` without ``rounds`` and ``wait_for_completion``: a try sends each row once. If the
    task is cleared after the results were fetched and more rows failed than ``error_tolerance`` allows, it sends again
    the rows that a retry can fix.

    :param input_path: the JSONL; or
    :param input_file_id: the provider's id of an uploaded file.
    """

    template_fields = (*(name for name in BatchInferenceOperator.template_fields if name != "rounds"), "input_file_id")

    def __init__(self, *, input_path: str = "", input_file_id: str | None = None, **kwargs: Any) -> None:
        refused = {name: kwargs[name] for name in ("rounds", "wait_for_completion") if name in kwargs}
        if refused:
            raise TypeError(
                f"Invalid arguments were passed to {type(self).__name__} (task_id: {kwargs.get('task_id')}). "
                f"Invalid arguments were:\n**kwargs: {refused}"
            )
        # Given by name, so that a default_args of the DAG that is meant for other tasks does not reach them.
        super().__init__(input_path=input_path, **kwargs, rounds=2, wait_for_completion=False)
        self.input_file_id = input_file_id

    def _check(self) -> None:
        super()._check()
        if bool(self.input_path) == bool(self.input_file_id):
            raise ConfigurationError("give either input_path or input_file_id")
        if self.input_file_id and self.download_images:
            raise ConfigurationError("download_images requires input_path: an uploaded file cannot be changed")

    def resumed(self, context: Context) -> BatchRun:
        """The run; its input is fetched from the provider where it was uploaded already."""
        run = super().resumed(context)
        if self.input_file_id:
            from airflow_batch_provider.run.attach import fetch_input

            run.input_file_id = self.input_file_id
            fetch_input(run, self.input_file_id)
        return run
