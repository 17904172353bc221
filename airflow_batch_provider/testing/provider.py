"""A fake provider for tests: the embedded server with the echo engine, dressed as somebody else."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.local.engines.base import Engine, Reply, error_body
from airflow_batch_provider.local.engines.echo import EchoEngine
from airflow_batch_provider.local.policy import Hooks, Stop
from airflow_batch_provider.local.store import Store
from airflow_batch_provider.testing.calls import Call
from airflow_batch_provider.testing.faults import FaultPlan
from airflow_batch_provider.testing.flavor_registry import make_flavor
from airflow_batch_provider.testing.flavors import Flavor
from airflow_batch_provider.testing.native_openai import refusal_of_chat

if TYPE_CHECKING:
    from typing_extensions import Self

FlavorName = Literal["openai", "azure", "truefoundry", "portkey"]


class FakeProvider:
    """An OpenAI-shaped provider on a free loopback port, for as long as the ``with`` block lasts.

    :param flavor: whom it plays.
    :param faults: what it does wrong; may be changed while it runs.
    :param api_key: the key it accepts.
    :param engine: answers the rows.
    :param rules: fields of :class:`~airflow_batch_provider.local.policy.Policy` to change, such as ``max_rows``.
    :param options: what the flavor itself can be told: ``behind`` and ``uri_ids`` of Portkey, ``virtual_models`` of
        TrueFoundry, ``tokens`` of Azure. ``behind="bedrock"`` or ``"vertex-ai"`` makes either a gateway over that
        cloud, with ``minimum``, ``strict`` and ``lists``.
    """

    def __init__(
        self,
        flavor: FlavorName = "openai",
        faults: FaultPlan | None = None,
        *,
        api_key: str = "fake-key",
        engine: Engine | None = None,
        rules: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        from airflow_batch_provider.local.app import create_app
        from airflow_batch_provider.local.server import LocalServer
        from airflow_batch_provider.testing.shell import Shell

        self.flavor = flavor
        self.faults = faults or FaultPlan()
        self.api_key = api_key
        self.requests: list[Call] = []
        played = make_flavor(flavor, api_key, options)
        self.headers: Mapping[str, str] = dict(played.headers)
        self._folder = tempfile.TemporaryDirectory(prefix="fake-provider-")
        self._store = played.store = Store(Path(self._folder.name))
        policy = replace(played.policy(), **{"slots": 8, "backoff": 0.01, "grace": 2.0, **(rules or {})})
        app = create_app(self._store, engine or EchoEngine(), policy, _FaultyHooks(self.faults, self._store, played))
        self._server = LocalServer(Shell(app, self._store, played, self.faults, self.requests))
        self.origin = self._server.origin
        self.base_url = self.origin + played.base

    @property
    def creates(self) -> list[Call]:
        """The calls that tried to create a batch, refused ones included."""
        return self.calls("create")

    @property
    def batches(self) -> list[JSON]:
        """The batches that exist, as the database has them, oldest first."""
        return list(reversed(self._store.list_batches(1_000_000, None) or []))

    def calls(self, kind: str) -> list[Call]:
        """The calls of one kind; see :class:`~airflow_batch_provider.testing.calls.Call`."""
        return [call for call in list(self.requests) if call.kind == kind]

    def start(self) -> Self:
        """Start, and return when calls are answered."""
        self._server.start()
        return self

    def stop(self) -> None:
        """Stop, and leave nothing behind."""
        self._server.stop()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class _FaultyHooks(Hooks):
    """The faults that the server itself carries out."""

    def __init__(self, faults: FaultPlan, store: Store, flavor: Flavor) -> None:
        self._faults = faults
        self._store = store
        self._flavor = flavor

    def _applies(self, batch: JSON) -> bool:
        from airflow_batch_provider.testing.shell import applies

        return applies(self._faults, self._store, batch)

    def job_errors(self, batch: JSON) -> list[JSON]:
        """The planned ones, completed to OpenAI's shape."""
        if not self._applies(batch) or not self._faults.job_errors:
            return self._flavor.job_errors(batch)
        return [{"param": None, "line": None, **error} for error in self._faults.job_errors]

    def stop(self, batch: JSON) -> Stop | None:
        """The first stop that is planned."""
        faults = self._faults
        if not self._applies(batch):
            return None
        if faults.expired_fraction is not None:
            return Stop(round(batch["request_counts"]["total"] * (1 - faults.expired_fraction)), "expired")
        stops = (
            (faults.expire_after_rows, "expired"),
            (faults.cancel_after_rows, "cancelled"),
            (faults.hold_after_rows, None),
        )
        return next((Stop(rows, status) for rows, status in stops if rows is not None), None)

    def answer(self, batch: JSON, custom_id: str, body: JSON) -> Reply | None:
        """The failure planned for the row, or what OpenAI itself refuses of it."""
        said = self._faults.row_error(custom_id)
        if said is None or not self._applies(batch):
            refused = refusal_of_chat(body) if self._flavor.own_service and "messages" in body else None
            return Reply(400, error_body(refused)) if refused else None
        kind = said.kind or "invalid_request_error"
        code = said.code or (None if said.kind else "planned")
        return Reply(said.status, error_body(said.message, kind=kind, code=code))

    def shape(self, batch: JSON, line: JSON) -> JSON:
        """The flavor's line, with separators that only look like ends of line when planned."""
        if self._faults.line_separators and self._applies(batch):
            for choice in (line["response"] or {}).get("body", {}).get("choices", []):
                choice["message"]["content"] += "\u2028\u0085end"
        return self._flavor.line(line)

    def bare_separators(self, batch: JSON) -> bool:
        """When planned."""
        return self._faults.line_separators and self._applies(batch)

    def always_error_file(self, batch: JSON) -> bool:
        """Where the flavor or the plan has it so."""
        return self._flavor.empty_error_file or (self._faults.empty_error_file and self._applies(batch))

    def reports_unrun(self, batch: JSON) -> bool:
        """Unless the plan keeps silent."""
        return not (self._faults.silent_unrun and self._applies(batch))
