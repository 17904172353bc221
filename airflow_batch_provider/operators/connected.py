"""What operators that use a provider's connection share: from arguments and context to a :class:`BatchRun`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_batch_provider.core.errors import ConfigurationError, RunConflictError
from airflow_batch_provider.core.records import RunOptions

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_batch_provider.hooks.base import BatchInferenceHook
    from airflow_batch_provider.images.fetch import ImagePolicy
    from airflow_batch_provider.run.run import BatchRun
    from airflow_batch_provider.run.storage import RunDirectory

ONE_MACHINE_EXECUTORS = frozenset({"LocalExecutor", "SequentialExecutor", "DebugExecutor"})


class ConnectedOperator(BaseOperator):
    """Base of the operators that use the connection of a provider.

    :param conn_id: the connection; its type decides the backend.
    """

    def __init__(self, *, conn_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self._killed = False
        self._run: BatchRun | None = None

    def follow(self, run_path: str, conn_id: str | None = None) -> BatchRun:
        """A run that some task submitted, to be read and finished but never extended.

        :raises RunConflictError: when there is none.
        """
        from airflow_batch_provider.run.ledger import Ledger
        from airflow_batch_provider.run.storage import RunDirectory

        directory = RunDirectory(run_path)
        record = Ledger(directory).run()
        if record is None:
            raise RunConflictError(
                f"There is no run in {run_path}; set run_path to the XCom run_path of the submitting task"
            )
        self.conn_id = conn_id or record.conn_id
        return self.open(directory, RunOptions(on_unusable=record.on_unusable))

    def open(self, directory: RunDirectory, options: RunOptions, **identity: Any) -> BatchRun:
        """A run on this operator's connection."""
        from airflow_batch_provider.run.run import BatchRun

        if not self.conn_id:
            raise ConfigurationError("conn_id is missing; set it to the connection of the provider")
        self._run = BatchRun(
            directory,
            self.hook(self.conn_id).backend,
            options,
            conn_id=self.conn_id,
            stopped=lambda: self._killed,
            log=self.log,
            **identity,
        )
        return self._run

    @staticmethod
    def hook(conn_id: str) -> BatchInferenceHook:
        """The hook of the connection's type."""
        from airflow_batch_provider.hooks.base import BatchInferenceHook

        return BatchInferenceHook.for_conn_id(conn_id)


def checked_directory(path: str, *, allow_local_path: bool) -> RunDirectory:
    """The run directory, unless its next task may run on a machine that cannot see it.

    :raises ConfigurationError: for a local path where tasks may run on several machines.
    """
    from airflow_batch_provider.run.storage import RunDirectory, is_local, open_path

    where = open_path(path)
    if is_local(where) and not allow_local_path:
        from airflow.configuration import conf

        names = [part.split(":")[-1].split(".")[-1].strip() for part in conf.get("core", "executor").split(",")]
        several = [name for name in names if name not in ONE_MACHINE_EXECUTORS]
        if several:
            raise ConfigurationError(
                f"{path} is a local path, but {', '.join(several)} may run the next try on another machine. Use s3://, "
                "gs:// or abfs://, or set allow_local_path=True if all workers share this folder."
            )
    return RunDirectory(where)


def image_policy(given: bool | Mapping[str, Any]) -> ImagePolicy | None:
    """How images are fetched, None where they are not.

    :param given: the operator's ``download_images``.
    :raises ConfigurationError: naming what is unknown or makes no sense.
    """
    if given is False:
        return None
    from airflow_batch_provider.images.fetch import ImagePolicy

    return ImagePolicy.of(given)


def path_of(output_path: str, context: Context, *, own_folder: bool) -> str:
    """The run directory of a task; a mapped one has its own.

    :param own_folder: whether the author's template has a folder for each mapped task already.
    """
    path = output_path.rstrip("/")
    map_index = getattr(context["ti"], "map_index", -1)
    if own_folder or map_index is None or map_index < 0:
        return path
    return f"{path}/map-{map_index:05d}"


def key_of(context: Context) -> str:
    """Who the task's run is; the same for every try."""
    from airflow_batch_provider.core.identity import run_key

    ti: Any = context["ti"]
    return run_key(ti.dag_id, ti.task_id, ti.run_id, -1 if ti.map_index is None else ti.map_index)
