"""Calls of a store that do not depend on each other, carried out at the same time; not more than a few of them, and of
large files one after the other, because each has its copy on the worker's disk meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

_CALLS = 16
_BYTES = 64 << 20

A = TypeVar("A")
T = TypeVar("T")


class AtOnce:
    """A few threads for as long as a block lasts; when it ends, no call goes on, and after an error none is begun."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_CALLS, thread_name_prefix="store")
        self._going: deque[tuple[Future[Any], int]] = deque()
        self._size = 0

    def __enter__(self) -> AtOnce:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=error is not None)

    def map(self, call: Callable[[A], T], given: Iterable[A]) -> list[T]:
        """What the call returns for each, in order.

        :raises Exception: the first one of the calls.
        """
        return list(self._pool.map(call, given))

    def in_turn(self, calls: Iterable[tuple[Callable[[], T], int]]) -> Iterator[T]:
        """What calls return, in order, while the next ones are carried out already.

        :param calls: each with its size, see :meth:`add`.
        :raises Exception: that of a call, in its turn.
        """
        ahead: deque[tuple[Future[T], int]] = deque()
        size = 0
        for call, its_size in calls:
            while ahead and (len(ahead) >= _CALLS or size + its_size > _BYTES):
                first, done = ahead.popleft()
                yield first.result()
                size -= done
            ahead.append((self._pool.submit(call), its_size))
            size += its_size
        yield from (future.result() for future, _ in ahead)

    def add(self, call: Callable[[], object], size: int) -> None:
        """Carry out a call some time before :meth:`finish` returns; waits while too much is going on.

        :param size: bytes on the worker's disk until the call has ended.
        :raises Exception: that of an earlier call.
        """
        while self._going and (len(self._going) >= _CALLS or self._size + size > _BYTES):
            self._wait()
        self._going.append((self._pool.submit(call), size))
        self._size += size

    def _wait(self) -> None:
        future, size = self._going.popleft()
        self._size -= size
        future.result()

    def finish(self) -> None:
        """Wait for all calls.

        :raises Exception: the first one of the calls.
        """
        while self._going:
            self._wait()
