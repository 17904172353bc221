"""What a connection type is: one row of data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from airflow_batch_provider.connections.settings import Settings
from airflow_batch_provider.core.provider_facts import ProviderFacts

STANDARD = ("host", "schema", "login", "password", "port")
PLAIN_HOOKS = "airflow_batch_provider.hooks.plain"
WIRE_FAKE = "airflow_batch_provider.testing.routes.start_wire"


@dataclass(frozen=True)
class Standard:
    """One of Airflow's own fields, as this type uses it.

    :param label: its name in the form.
    :param placeholder: what the form shows while it is empty.
    :param missing: what is said when it is empty, with the remedy; empty where it may be. Read for :class:`Wire` only.
    """

    label: str
    placeholder: str = ""
    missing: str = ""


@dataclass(frozen=True)
class Wire:
    """OpenAI's wire without behaviour of its own: what is enough to make hook and backend of.

    The password is sent as a bearer token. A setting that is required and empty is an error.

    :param base_url: the provider's own address; empty where every connection names a host.
    :param scheme: of a host that has none.
    :param path: added to a host that has none.
    :param headers: sent with every call: from a header to the setting that holds its value.
    :param identity: settings that identify the account; a run with living jobs must not go on with another one.
    :param console: the provider's page of a batch, with ``{id}``; as what follows and the row's ``price_list``, of
        ``base_url`` only.
    :param takes_expiry: whether uploads may end by themselves (``expires_after``).
    :param checks_chat: whether OpenAI's own service answers there, whose rules of chat requests are checked before.
    :param ascii_only: whether all other characters must be escaped in uploads.
    :param output_endpoint: whether results come from ``/batches/{id}/output`` where a job names no file.
    """

    base_url: str = ""
    scheme: str = "https"
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    identity: tuple[str, ...] = ()
    console: str | None = None
    takes_expiry: bool = False
    checks_chat: bool = False
    ascii_only: bool = False
    output_endpoint: bool = False


@dataclass(frozen=True)
class Fake:
    """A fake provider with the connection to it, for tests.

    :param start: the function that starts it, as ``module.name``: it takes this record, the connection type's name, a
        :class:`~airflow_batch_provider.testing.FaultPlan` or None, and a dict of rules, and gives a context manager
        over ``(fake, connection)``. See ``testing/routes.py``.
    :param flavor: of :class:`~airflow_batch_provider.testing.FakeProvider`, and ``options`` of that flavor.
    :param extra: the connection's extra fields.
    :param model: one that it answers for.
    :param min_rows: the fewest rows that it takes in a job.
    :param behind: the provider behind a gateway.
    :param same_as: the route that runs through the same code: long tests leave this one out.
    :param rules: what else ``fake_route`` accepts for it, shown in the table of routes.
    """

    start: str = WIRE_FAKE
    flavor: Literal["openai", "azure", "truefoundry", "portkey"] = "openai"
    options: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    model: str = "m"
    min_rows: int = 1
    behind: str | None = None
    same_as: str | None = None
    rules: str = "`engine`, which answers the rows; `max_rows=...` and other fields of `local.policy.Policy`"

    @property
    def is_wire(self) -> bool:
        """Whether it is the fake of OpenAI's wire."""
        return self.start == WIRE_FAKE


@dataclass(frozen=True)
class ProviderBehind:
    """One that may be behind a gateway.

    :param title: its name behind the gateway's in tables.
    :param facts: what is known of its batches, as the gateway passes them on.
    """

    title: str
    facts: ProviderFacts


@dataclass(frozen=True)
class ConnectionType:
    """One connection type: hook, form, fake routes, tests and the tables of all pages are made from this.

    :param name: the connection type; ends in ``_batch``.
    :param title: the provider's name in tables, forms and messages.
    :param settings: the extra fields.
    :param standard: Airflow's own fields that it uses; all others are hidden.
    :param needs: the fields of a connection, shown in the README.
    :param example_model: a model's name in the form's examples.
    :param summary: who answers, shown in the README; the title, and who may be behind it, where it is empty.
    :param facts: what is known of the provider's batches: limits, endpoints, prices, the discount; None for a gateway
        with several behind it, and for a hook whose backend says it itself.
    :param behind: the providers that may be behind a gateway, by the values of the setting ``behind``.
    :param wire: instead of a hook of its own.
    :param hook: the hook class, as ``module.name``; one is made from ``wire`` where it is empty.
    :param fakes: fake routes by their names; with a wire and none, the fake of OpenAI under the name of the type.
    :param default_conn_id: the connection of a hook that is given none; ``NAME_default`` where it is empty.
    """

    name: str
    title: str
    settings: type[Settings]
    standard: Mapping[str, Standard]
    needs: str
    example_model: str
    fakes: Mapping[str, Fake] = field(default_factory=dict)
    summary: str = ""
    facts: ProviderFacts | None = None
    behind: Mapping[Any, ProviderBehind] = field(default_factory=dict)
    wire: Wire | None = None
    hook: str = ""
    default_conn_id: str = ""

    def __post_init__(self) -> None:
        if not self.name.endswith("_batch"):
            raise ValueError(f"the connection type {self.name!r} does not end in _batch")
        if not self.hook and self.wire is None:
            raise ValueError(f"the connection type {self.name!r} has neither a hook nor a wire")
        if self.wire is not None and self.facts is None:
            raise ValueError(f"the connection type {self.name!r} has a wire and no facts")

    @property
    def provider(self) -> str:
        """The name without its end: that of its page, and of its first fake route."""
        return self.name.removesuffix("_batch")

    @property
    def routes(self) -> Mapping[str, Fake]:
        """The fake routes by their names."""
        return self.fakes or ({self.provider: Fake(same_as="openai")} if self.wire else {})

    @property
    def ways(self) -> Mapping[str, Any]:
        """By their titles, the values of the setting ``behind``: None where nothing is behind it."""
        ways = {f"{self.title} over {each.title}": value for value, each in self.behind.items()}
        return ways or {self.title: None}

    @property
    def known(self) -> ProviderFacts:
        """The facts of a type that has them.

        :raises TypeError: where it has none.
        """
        if self.facts is None:
            raise TypeError(f"the connection type {self.name!r} has no facts of its own")
        return self.facts

    @property
    def providers(self) -> Mapping[Any, ProviderFacts]:
        """What is known of those behind a gateway."""
        return {value: each.facts for value, each in self.behind.items()}

    @property
    def label(self) -> str:
        """The name in the list of connection types."""
        return f"LLM batch: {self.title}"

    @property
    def hook_path(self) -> str:
        """The hook class, as ``module.name``."""
        return self.hook or f"{PLAIN_HOOKS}.{self.provider.title().replace('_', '')}BatchHook"

    @property
    def conn_id(self) -> str:
        """The connection of a hook that is given none."""
        return self.default_conn_id or f"{self.name}_default"

    def kept_secret(self, *ways: str) -> tuple[str, ...]:
        """The settings that are kept secret in one of these ways."""
        return tuple(name for name, info in self.settings.model_fields.items() if fact(info, "hide") in ways)

    def missing(self, values: Settings) -> list[str]:
        """The required settings that are empty, as sentences with their remedy."""
        fields = type(values).model_fields
        empty = [name for name, info in fields.items() if fact(info, "required") and not getattr(values, name)]
        return [f"{name} is missing; set it in the extra fields ({fields[name].title})" for name in empty]


def fact(info: Any, name: str) -> Any:
    """What :func:`~airflow_batch_provider.connections.settings.setting` says of a field, beside what pydantic reads."""
    return (info.json_schema_extra or {}).get(name)
