"""The flavors by their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_batch_provider.testing.flavors import Azure, Flavor, Portkey, TrueFoundry
from airflow_batch_provider.testing.flavors_clouds import CLOUD_FLAVORS

FLAVORS: Mapping[str, type[Flavor]] = {kind.name: kind for kind in (Flavor, Azure, TrueFoundry, Portkey)}


def make_flavor(name: str, key: str, options: Mapping[str, Any]) -> Flavor:
    """The flavor of this name, with its own options; a gateway over a cloud is one of its own."""
    if options.get("behind") in ("bedrock", "vertex-ai"):
        return CLOUD_FLAVORS[name](key, **options)
    return FLAVORS[name](key, **options)
