"""The contract of OpenAI's wire, for every connection type on it, reached by the hook that its row makes.

A type with a hook of its own has a file of its own for the whole contract; a type that is only a row has it here, where
nothing is written for it. :data:`ROW` is such a type, with all that a row can say.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from airflow.sdk import Connection

from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.route import CHAT
from airflow_batch_provider.connections import connection_types
from airflow_batch_provider.connections.base import ConnectionType, Fake, Standard, Wire
from airflow_batch_provider.connections.settings import ExtraSettings, setting
from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.provider_facts import WIRE_STATUSES, PriceList, ProviderFacts
from airflow_batch_provider.core.records import Admission, JobStatus, Limits, Shard
from airflow_batch_provider.hooks.base import BatchInferenceHook, hook_class
from airflow_batch_provider.hooks.plain import plain_hook
from tests.architecture.measure import PACKAGE
from tests.backends.contract import KEY
from tests.backends.wire_contract import FakedWireRoute, FaultyWireContract

PATHS = {"openai": "/v1", "portkey": "/v1", "truefoundry": "/api/llm", "azure": ""}
"""What a connection's host ends with, by the flavor of the fake."""


class RowSettings(ExtraSettings):
    """Extra fields of the invented type."""

    team: str | None = setting("Team", "Sent as X-Row-Team.", required=True)


ROW = ConnectionType(
    "row_batch",
    "Row",
    RowSettings,
    {"host": Standard("Base URL"), "password": Standard("Key", missing="the key is missing; set it as the password")},
    needs="password = key; extra `team`",
    example_model="m",
    facts=ProviderFacts(
        Limits(max_rows=40_000, max_bytes=100_000_000, endpoints=(CHAT,), window_hours=48, source="invented"),
        PriceList("openai", discount=0.2, source="invented"),
        Admission(max_jobs=7),
        statuses={**WIRE_STATUSES, "Set-Aside": JobStatus.VALIDATING, "done": JobStatus.COMPLETED},
    ),
    wire=Wire(
        base_url="https://api.row.example/v1",
        headers={"X-Row-Team": "team"},
        identity=("team",),
        console="https://row.example/batches/{id}",
        ascii_only=True,
        output_endpoint=True,
    ),
    fakes={"row": Fake(extra={"team": "search"})},
)


def hook_of(row: ConnectionType) -> type[BatchInferenceHook]:
    return plain_hook(row) if row is ROW else hook_class(row.name, row.name)


class RowRoute(FakedWireRoute):
    """The way from a connection to its provider."""

    row: ClassVar[ConnectionType]
    faked: ClassVar[Fake]

    def make(self, world: Any, key: str = KEY, base: str | None = None) -> OpenAIBackend:
        fields = {"host": f"{base or world.origin}{PATHS[self.flavor]}", "password": key}
        return self.with_fields(**fields, extra=json.dumps(self.faked.extra))

    def with_fields(self, **fields: str) -> OpenAIBackend:
        connection = Connection(conn_id="c", conn_type=self.row.name, **fields)
        return hook_of(self.row)("c", connection=connection).backend

    def test_it_is_its_type(self, backend: OpenAIBackend) -> None:
        """Name, limits and page are those of the row."""
        assert backend.name == backend.identity["type"] == self.row.name
        known = self.row.behind[self.faked.behind or "openai"].facts if self.row.behind else self.row.known
        assert backend.limits == known.limits


def classes() -> Iterator[tuple[str, type]]:
    """One for each way to the wire; the whole contract where the type is nothing but a row."""
    for row in (*connection_types().values(), ROW):
        for name, fake in row.routes.items():
            if fake.is_wire and fake.behind is None:
                bases = (RowRoute,) if row.hook else (RowRoute, FaultyWireContract)
                facts = {"row": row, "faked": fake, "flavor": fake.flavor, "options": dict(fake.options)}
                facts["has_bearer"] = fake.flavor in ("openai", "truefoundry")
                title = f"Test{name.title().replace('_', '')}"
                yield title, type(title, bases, {**facts, "__module__": __name__, "__doc__": row.label})


globals().update(classes())


def test_every_type_on_the_wire_is_here() -> None:
    """No type is left out, and the one that is nothing but a row has the whole contract."""
    here = {each.row.name for each in globals().values() if isinstance(each, type) and "row" in vars(each)}
    wired = {name for name, row in connection_types().items() if any(fake.is_wire for fake in row.routes.values())}
    assert here == wired | {"row_batch"}
    assert issubclass(globals()["TestRow"], FaultyWireContract)


def test_a_row_without_a_fake_has_one() -> None:
    """The fake of OpenAI stands in for it; long tests leave it out."""
    assert ConnectionType(
        "bare_batch", "Bare", ExtraSettings, {}, needs="", example_model="m", facts=ROW.facts, wire=ROW.wire
    ).routes == {"bare": Fake(same_as="openai")}


def row_connection(**fields: Any) -> Connection:
    extra = json.dumps(fields.pop("extra", {"team": "search"}))
    return Connection(conn_id="c", conn_type="row_batch", **{"password": KEY, **fields}, extra=extra)


def row_backend(**fields: Any) -> OpenAIBackend:
    return plain_hook(ROW)("c", connection=row_connection(**fields)).backend


def test_all_that_a_row_says() -> None:
    """Address, headers, identity, page and price list at the provider's own address."""
    backend = row_backend()
    assert backend.route.base_url == "https://api.row.example/v1"
    assert dict(backend.route.headers) == {"Authorization": f"Bearer {KEY}", "X-Row-Team": "search"}
    assert backend.identity["team"] == "search"
    assert backend.console_url("b/1") == "https://row.example/batches/b%2F1"
    assert ROW.facts is not None
    assert backend.price_list == ROW.facts.price_list
    assert (backend.window_hours({}), backend.admission.max_jobs) == (48, 7)


def test_its_own_words_and_window() -> None:
    """A status is read by the row's words, however the provider spells them; the create call names the row's window."""
    facts = replace(ROW.known, completion_window="48h")
    backend = plain_hook(replace(ROW, facts=facts))("c", connection=row_connection()).backend
    assert isinstance(backend, OpenAIBackend)
    words = ("set_aside", "SetAside", "Done", "parked", "completed")
    said = [backend._job({"id": "b", "status": word}).status for word in words]
    waiting, done = JobStatus.VALIDATING, JobStatus.COMPLETED
    assert said == [waiting, waiting, done, JobStatus.UNKNOWN, done]
    shard = Shard(0, 0, 1, 1, "m", CHAT)
    assert backend.create_request(shard, "t", "f", {})["completion_window"] == "48h"
    assert backend.create_request(shard, "t", "f", {"completion_window": "7d"})["completion_window"] == "7d"


def test_another_address_has_neither_page_nor_price() -> None:
    """What answers elsewhere may cost what it likes."""
    backend = row_backend(host="https://mirror.example/v1")
    assert (backend.console_url("b"), backend.price_list) == (None, None)


FACTS = {"Admission", "Limits", "PriceList", "ProviderFacts"}


def facts_in(source: bytes) -> list[int]:
    """The lines in which a module makes facts of its own: calls with figures, and tables of more than one status."""
    nodes = [*ast.walk(ast.parse(source))]
    calls = [node for node in nodes if isinstance(node, ast.Call) and node.args + node.keywords]
    names = [(node.lineno, ast.unparse(node.func)) for node in calls]
    made = [line for line, name in names if name != "httpx.Limits" and name.rpartition(".")[2] in FACTS]
    tables = [node for node in nodes if isinstance(node, ast.Dict)]
    return made + [table.lineno for table in tables if ast.unparse(table).count("JobStatus.") > 1]


def test_a_fact_is_seen_wherever_it_is_made() -> None:
    """By its name or its module's, in a class or in a function; an empty one is none."""
    assert facts_in(b"LIMITS = Limits(max_rows=1)\nclass A:\n    admission = records.Admission(20)\n") == [1, 3]
    assert facts_in(b"\nWORDS = {'a': JobStatus.FAILED, 'b': JobStatus.EXPIRED}\n") == [2]
    assert facts_in(b"admission = Admission()\nx = replace(limits, max_rows=1)\n") == []


def test_no_backend_has_facts_of_its_own() -> None:
    """Limits, prices, what may be alive at once and status words are fields of the rows, which backends are given."""
    for folder in ("backends", "hooks"):
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            assert facts_in(path.read_bytes()) == [], path


def test_what_is_missing() -> None:
    """A required setting and a required standard field are named together, before anything is sent."""
    backend = row_backend(password="", extra={})
    with pytest.raises(ConfigurationError, match=r"the key is missing.*team is missing; set it in the extra fields"):
        backend.check_route([], [], {})
