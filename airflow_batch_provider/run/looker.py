"""Looks at the provider: which jobs the creates of a run have made, by one reading of the list for all of them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from airflow_batch_provider.core.errors import BatchInferenceError, PermanentError
from airflow_batch_provider.core.finding import Handle, Seen, Sightings, worth
from airflow_batch_provider.core.identity import content_of, content_part, make_token, own_part
from airflow_batch_provider.core.records import Found, Job, Shard
from airflow_batch_provider.run import staging
from airflow_batch_provider.run.attempts import Attempt
from airflow_batch_provider.run.context import RunContext

LOST_CREATES = 5
"""How many creates a lost ledger may have known of a shard, each after one that was given up."""

Wanted: TypeAlias = "Sequence[tuple[Shard, Sequence[Attempt]]]"
"""Shards with all their creates, oldest first."""


@dataclass(slots=True)
class Looker:
    """Names the creates of one run, and finds their jobs.

    :param run_key: of the run; ``directory_id`` of this very directory.
    """

    run: RunContext
    run_key: str
    directory_id: str

    # ---- names -------------------------------------------------------------------------------------------------

    def content(self, shard: Shard) -> str:
        """The content of the shard's job."""
        return content_part(self.run_key, shard, staging.digest_of(self.run.directory, shard))

    def tokens(self, shard: Shard) -> Iterator[str]:
        """The names of the shard's creates, the first one first."""
        digest = staging.digest_of(self.run.directory, shard)
        content = content_part(self.run_key, shard, digest)
        for create_no in itertools.count(1):
            yield make_token(own_part(self.directory_id, shard, digest, create_no), content)

    def free_token(self, shard: Shard, attempts: Sequence[Attempt], seen: Seen | None) -> str:
        """The first name that no job can have.

        What was refused made nothing, so its name is still unused; a lost ledger is then easier to make up for.
        """
        used = {attempt.token for attempt in attempts if not attempt.made_nothing}
        shown = Sightings(Found(seen.own, complete=True)) if seen else None
        return next(
            token for token in self.tokens(shard) if token not in used and not (shown and shown.of([Handle(token)]).own)
        )

    def handles(self, shard: Shard, attempts: Sequence[Attempt]) -> list[Handle]:
        """By what the jobs of a shard are known, and by every name they may have of which the ledger has nothing: a
        part of it may be gone, or be put back as it was before the newest create."""
        known = {
            one.token: Handle(one.token, self._own_input(one), shard.rows, one.intent_at)
            for one in attempts
            if one.token
        }
        others = (token for token in self.tokens(shard) if token not in known)
        return [
            *known.values(),
            *(Handle(token) for token in itertools.islice(others, LOST_CREATES)),
        ]

    def _own_input(self, attempt: Attempt) -> str | None:
        return None if attempt.input_id == self.run.input_file_id else attempt.input_id

    # ---- looks -------------------------------------------------------------------------------------------------

    def look(self, wanted: Wanted, beside: Collection[str] = ()) -> dict[str, Seen]:
        """What the provider shows of these shards, by name.

        :param beside: see :meth:`~airflow_batch_provider.backends.base.Backend.find`.
        """
        if not wanted:
            return {}
        handles = {shard.name: self.handles(shard, attempts) for shard, attempts in wanted}
        every = [handle for some in handles.values() for handle in some]
        sightings = Sightings(self.run.read(lambda: self.run.backend.find(every, beside)))
        return {name: sightings.of(some) for name, some in handles.items()}

    def look_or_go_on(self, wanted: Wanted, beside: Collection[str] = ()) -> dict[str, Seen]:
        """As :meth:`look`, where not being able to look is no reason to stop: it proves nothing."""
        try:
            return self.look(wanted, beside)
        except BatchInferenceError as error:
            self.run.log.warning("The provider's jobs could not be listed: %s", error)
            return {shard.name: Seen(complete=False, broken=str(error)) for shard, _ in wanted}

    # ---- second jobs -------------------------------------------------------------------------------------------

    def look_for_twins(self, wanted: Wanted) -> Mapping[str, Seen]:
        """Look once for second jobs of these creates, cancel and report them.

        A gateway may repeat a create by itself, and then two jobs have our token.

        :return: what was seen; nothing where the look failed, which is logged and not an error.
        """
        beside = {job_id for _, attempts in wanted if (job_id := _job_of(attempts))}
        # A create without an answer may have made a job of any age by now, so then the whole list is read.
        unsure = any(_job_of(attempts) is None for _, attempts in wanted)
        try:
            shown = self.look(wanted, () if unsure else beside)
        except BatchInferenceError as error:
            message = "Whether a create made a second job is unknown; the provider's jobs could not be listed: %s"
            self.run.log.warning(message, error)
            return {}
        for shard, attempts in wanted:
            if job_id := _job_of(attempts):
                self._twins_of(shard, attempts, job_id, shown[shard.name].own)
        return shown

    def _twins_of(self, shard: Shard, attempts: Sequence[Attempt], job_id: str, own: Sequence[Job]) -> None:
        if attempts[-1].is_borrowed or not content_of(attempts[-1].token):
            return
        self.end_surplus(shard, attempts, job_id, own)

    def end_surplus(self, shard: Shard, attempts: Sequence[Attempt], chosen: str, own: Sequence[Job]) -> None:
        """Cancel and report the second jobs of a create.

        :param chosen: the job that the run goes on with.
        :param own: all its jobs, as one list shows them.
        """
        if own and all(job.id != chosen for job in own):
            # One of them may be the chosen one by another spelling of its id, so nothing is cancelled.
            message = "%s bear the token of %s, and the list does not show its job %s; they are left alone"
            self.run.log.warning(message, ", ".join(job.id for job in own), shard.name, chosen)
            return
        self._end(shard, attempts, chosen, [job for job in own if job.id != chosen])

    def end_recorded(self, shard: Shard, attempts: Sequence[Attempt]) -> None:
        """Cancel and report the second jobs that are recorded beside the newest create's job: whoever found them was
        killed before, or could not."""
        found: list[Job] = []
        for job_id in attempts[-1].open_surplus:
            try:
                found.append(self.run.read(lambda job_id=job_id: self.run.backend.retrieve(job_id)))  # type: ignore[misc]
            except BatchInferenceError as error:  # noqa: PERF203 - each for itself
                message = "Job %s, a second one of %s, could not be looked at and may still bill: %s"
                self.run.log.error(message, job_id, shard.name, error)
        self._end(shard, attempts, attempts[-1].job_id or "", found)

    def _end(self, shard: Shard, attempts: Sequence[Attempt], chosen: str, surplus: Sequence[Job]) -> None:
        number = attempts[-1].number if attempts else 1
        known = {twin.job_id for attempt in attempts for twin in attempt.twins}
        for other in surplus:
            if other.id in known:
                continue
            alive = worth(other) == 1
            if alive and attempts and not content_of(attempts[-1].token):
                # A token of version 1 does not tell run directories apart.
                self.run.log.error(
                    "Job %s looks like a second one of %s; check it, it is not cancelled", other.id, chosen
                )
                continue
            if alive:
                try:
                    self.run.read(lambda other=other: self.run.backend.cancel(other.id))  # type: ignore[misc]
                except BatchInferenceError as error:
                    self.run.log.error("Job %s could not be cancelled and may still bill: %s", other.id, error)
                    if not isinstance(error, PermanentError):
                        continue  # not recorded, so that the next look tries again
                    alive = False
            done = "is cancelled" if alive else f"is {other.raw_status or other.status.value}"
            message = "The create of %s made two jobs: the run goes on with %s, job %s %s; it may be billed"
            self.run.log.error(message, shard.name, chosen, other.id, done)
            self.run.ledger.record_twin(shard, number, other, cancelled=alive)


def _job_of(attempts: Sequence[Attempt]) -> str | None:
    return next((attempt.job_id for attempt in reversed(attempts) if attempt.job_id), None)
