"""Images that are addresses in requests, written into them as ``data:`` URLs, for providers that fetch none.

An image is fetched once and kept beside the output, under the digest of its address. So a retry goes on where the last
try stopped, and doing the same again gives the same bytes, whatever has become of the image meanwhile: a request that
was planned or paid for never changes under its run.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import orjson

from airflow_batch_provider.core.errors import InputError, Problem
from airflow_batch_provider.core.jsonl import load_exactly
from airflow_batch_provider.core.validation import KEPT_PROBLEMS
from airflow_batch_provider.images.fetch import (
    ImageError,
    ImageFetcher,
    ImagePolicy,
    media_type,
    shown,
)
from airflow_batch_provider.run.staging import file_source
from airflow_batch_provider.run.storage import RunDirectory

FOLDER = ".images"
"""What is added to the name of the output for the folder of its images."""
_MADE = "requests.jsonl"
_LOCKS = 64


class Inliner:
    """Writes images into requests, a few rows at a time.

    :param store: where images are kept.
    :param policy: how they are fetched.
    :param name: how messages call the input.
    :param show_values: whether an error may quote an address.
    """

    def __init__(self, store: RunDirectory, policy: ImagePolicy, name: str, *, show_values: bool = True) -> None:
        self._store = store
        self._policy = policy
        self._name = name
        self._show_values = show_values
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._problems: list[Problem] = []
        self._count = 0

    def lines(self, lines: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
        """The same requests in the same order, with their images inside.

        :param lines: line numbers with requests.
        :raises InputError: at the end, with every image that cannot be had, and with what ``lines`` itself found.
        """
        fetcher = ImageFetcher(self._policy)
        pool = ThreadPoolExecutor(self._policy.at_once, thread_name_prefix="images")
        waiting: deque[_Row] = deque()
        try:
            for number, raw in self._honest(lines):
                waiting.append(_Row(number, raw, lambda url: pool.submit(self._keep, fetcher, url)))
                # Rows without an image wait for nobody but those before them.
                while waiting and (len(waiting) > 2 * self._policy.at_once or waiting[0].is_ready):
                    yield from self._written(waiting.popleft())
            while waiting:
                yield from self._written(waiting.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            fetcher.close()
        if self._count:
            self._problems.sort(key=lambda problem: problem.line or 0)
            raise InputError(self._name, self._problems, self._count)

    def _honest(self, lines: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
        """The lines; what they end with is reported together with what is wrong with the images."""
        try:
            yield from lines
        except InputError as error:
            self._note(error.problems, error.total)

    def _written(self, row: _Row) -> Iterator[bytes]:
        made = row.made(self._data_url, self._policy.max_line_bytes)
        if isinstance(made, bytes):
            yield made
        else:
            problems = [self._problem(row.number, path, url, error) for path, url, error in made]
            self._note(problems, len(problems))

    def _problem(self, number: int, path: str, url: str, error: ImageError) -> Problem:
        which = f" {shown(url)}" if self._show_values else ""
        return Problem(number, path, f"the image{which} cannot be sent: {error}")

    def _note(self, problems: Iterable[Problem], total: int) -> None:
        self._count += total
        self._problems.extend([*problems][: max(0, KEPT_PROBLEMS - len(self._problems))])

    def _keep(self, fetcher: ImageFetcher, url: str) -> None:
        """Have the image in the store; of several rows that name it one fetches it."""
        name = _name(url)
        with self._locks[int(name[:8], 16) % _LOCKS]:
            if self._store.read(name) is None:
                self._store.write(name, fetcher.fetch(url))

    def _data_url(self, url: str) -> str:
        data = self._store.read(_name(url))
        if data is None:
            raise ImageError("it was removed from the folder of images; clear the task")
        return f"data:{media_type(data)};base64,{base64.b64encode(data).decode()}"


def with_images(path: str, folder: str, policy: ImagePolicy) -> str:
    """A request file with its images inside.

    :param path: of the author's file.
    :param folder: where the images and the file that is made are kept.
    :return: the path of that file.
    :raises InputError: with every image that cannot be had.
    """
    store = RunDirectory(folder)
    with store.writer(_MADE) as out:
        for line in Inliner(store, policy, path).lines(file_source(path)()):
            out.write(line + b"\n")
    return f"{folder}/{_MADE}"


def _name(url: str) -> str:
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:40]


class _Row:
    """One request whose images are on their way; they are read when it is written, so that few are in memory."""

    def __init__(self, number: int, raw: bytes, submit: Callable[[str], Future[None]]) -> None:
        self.number = number
        self._raw = raw
        self._request: Any = None
        self._places: list[tuple[str, dict[str, Any], str, Future[None]]] = []
        if b"image" not in raw or b"http" not in raw.lower():
            return
        try:
            orjson.loads(raw)
        except orjson.JSONDecodeError:
            return  # validation says what is wrong with it
        self._request = load_exactly(raw)
        body = self._request.get("body") if isinstance(self._request, dict) else None
        for path, holder, key in _images(body, "body"):
            self._places.append((path, holder, key, submit(holder[key])))

    @property
    def is_ready(self) -> bool:
        return all(future.done() for *_, future in self._places)

    def made(self, data_url: Callable[[str], str], most: int) -> bytes | list[tuple[str, str, ImageError]]:
        """The line, or what prevents it: JSON path, address, reason."""
        errors = []
        size = len(self._raw)
        for path, holder, key, future in self._places:
            url = holder[key]
            found = self._found(future, data_url, url)
            if isinstance(found, ImageError):
                errors.append((path, url, found))
                continue
            size += len(found) - len(url)
            if size > most:
                errors.append(
                    (path, url, ImageError(f"with it the line has more than {most:,} bytes; make it smaller"))
                )
                break
            holder[key] = found
        return errors or (orjson.dumps(self._request) if self._places else self._raw)

    @staticmethod
    def _found(future: Future[None], data_url: Callable[[str], str], url: str) -> str | ImageError:
        try:
            future.result()
            return data_url(url)
        except ImageError as error:
            return error


def _images(value: Any, path: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Every address of an image: its JSON path, and where it stands."""
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from _images(each, f"{path}[{index}]")
    elif isinstance(value, dict):
        if value.get("type") in ("image_url", "input_image"):
            given = value.get("image_url")
            holder, key, where = value, "image_url", f"{path}.image_url"
            if isinstance(given, dict):
                holder, key, where = given, "url", f"{where}.url"
            url = holder.get(key)
            if isinstance(url, str) and url.lower().startswith(("http:", "https:")):
                yield where, holder, key
            return
        for name, each in value.items():
            yield from _images(each, f"{path}.{name}")
