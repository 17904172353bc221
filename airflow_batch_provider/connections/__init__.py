"""The connection types: one module for each, from which hooks, forms, fakes, tests and pages are made.

A module here that has a ``CONNECTION`` is a connection type of this package. Another package adds its own by an entry
point of the group :data:`GROUP`, whose name is the type and whose object is a
:class:`~airflow_batch_provider.connections.base.ConnectionType`::

    [project.entry-points."airflow_batch_provider.connections"]
    acme_batch = "acme_llm.connection:CONNECTION"
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import logging
import pkgutil
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_batch_provider.connections.base import ConnectionType

GROUP = "airflow_batch_provider.connections"
log = logging.getLogger(__name__)


@functools.cache
def connection_types() -> Mapping[str, ConnectionType]:
    """Every connection type by its name, this package's first."""
    found = {**own_types()}
    for name, other in _others():
        if name in found:
            log.warning("The connection type %r of an entry point is left out: the name is taken", name)
        else:
            found[name] = other
    return found


@functools.cache
def own_types() -> Mapping[str, ConnectionType]:
    """Those of this package, by their names."""
    return {own.name: own for own in _own()}


def _own() -> Iterator[ConnectionType]:
    for module in pkgutil.iter_modules(__path__):
        made = getattr(importlib.import_module(f"{__name__}.{module.name}"), "CONNECTION", None)
        if made is not None:
            yield made


def _others() -> Iterator[tuple[str, ConnectionType]]:
    """Those of other packages. One that cannot be read is left out with a warning: the others must work."""
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda each: each.name):
        made = _read(point)
        if made is not None:
            yield point.name, made


def _read(point: importlib.metadata.EntryPoint) -> ConnectionType | None:
    try:
        return _checked(point.name, point.load())
    except Exception as error:  # noqa: BLE001 - another package's code, which may raise anything
        log.warning("The connection type %r (%s) cannot be used: %s", point.name, point.value, error)
        return None


def _checked(name: str, made: Any) -> ConnectionType:
    from airflow_batch_provider.connections.base import ConnectionType

    if not isinstance(made, ConnectionType):
        raise TypeError(f"it is a {type(made).__name__}, not a ConnectionType")
    if made.name != name:
        raise ValueError(f"the entry point is called {name!r}, the connection type {made.name!r}; use one name")
    return made
