"""The engines that answer requests, one file each, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.local.engines.base import Engine

ENGINES = ("echo", "llama", "upstream")


def make_engine(name: str, options: Mapping[str, Any]) -> Engine:
    """The engine of this name, ready to answer.

    :param options: ``latency`` for echo; ``model_path`` and ``slots`` for llama; ``upstream``, ``upstream_key`` and
        ``slots`` for upstream. Options of other engines are ignored.
    """
    if name == "echo":
        from airflow_batch_provider.local.engines.echo import EchoEngine

        return EchoEngine(latency=options.get("latency") or 0.0)
    if name == "llama":
        from airflow_batch_provider.local.engines.llama import LlamaEngine, find_model

        return LlamaEngine(find_model(options.get("model_path")), slots=options.get("slots") or 4)
    if name == "upstream":
        from airflow_batch_provider.local.engines.upstream import UpstreamEngine

        if not options.get("upstream"):
            raise ConfigurationError("The engine 'upstream' needs the address of an endpoint: --upstream URL")
        return UpstreamEngine(options["upstream"], key=options.get("upstream_key"), slots=options.get("slots") or 4)
    raise ConfigurationError(f"Unknown engine {name!r}; there are: {', '.join(ENGINES)}")
