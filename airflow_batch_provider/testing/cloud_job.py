"""What a job of both fake clouds is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from airflow_batch_provider.core.records import JSON


@dataclass(slots=True)
class CloudJob:
    """One job, whose output may come later than its end.

    :param told: as the service reports it.
    :param held: writes the output that was held back; None where nothing is.
    :param ends: how often the job was polled since it ended.
    """

    told: JSON
    stop: asyncio.Event = field(default_factory=asyncio.Event, kw_only=True)
    polls: int = field(default=0, kw_only=True)
    held: Callable[[], None] | None = field(default=None, kw_only=True)
    ends: int = field(default=0, kw_only=True)

    def is_due(self, polls: int) -> bool:
        """Whether what was held back of a job that has ended is to be written at this poll.

        :param polls: at so many polls after the end the output is still missing.
        """
        self.ends += 1
        return self.held is not None and self.ends > polls

    def write_late(self) -> None:
        """Write what was held back."""
        write, self.held = self.held, None
        if write is not None:
            write()
