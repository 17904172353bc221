"""One round as far as it goes now: collect what has ended, give up what must not be sent, create what may be."""

from __future__ import annotations

from dataclasses import dataclass, replace

from airflow_batch_provider.core import submission
from airflow_batch_provider.core.admission import admit
from airflow_batch_provider.core.counts import counted
from airflow_batch_provider.core.errors import (
    AccountError,
    BatchInferenceError,
    BudgetError,
    DeadlineError,
    LostCreateError,
    RunConflictError,
)
from airflow_batch_provider.core.finding import Seen
from airflow_batch_provider.core.identity import content_of
from airflow_batch_provider.core.polling import Waiting, WakeRule
from airflow_batch_provider.core.reconciling import CREATE_LOST, OVER_BUDGET, OVER_QUOTA, TOO_LATE
from airflow_batch_provider.core.records import Shard
from airflow_batch_provider.run import collect, results, staging
from airflow_batch_provider.run.attempts import Attempt, Round
from airflow_batch_provider.run.context import RunContext
from airflow_batch_provider.run.facts import Intent, Tries
from airflow_batch_provider.run.fetcher import Fetcher
from airflow_batch_provider.run.passes import Pass, Sending
from airflow_batch_provider.run.submitter import Submitter, Unsure

QUEUE_TRIES = 5
"""How often a job alone may be refused by a full queue before it is halved."""
CANCEL_SECONDS = 3600.0
"""How long jobs may take to stop; OpenAI's guide says up to ten minutes."""
TROUBLE_SECONDS = 600.0
"""When a job that could not be read is looked at again, while others are waited for."""


@dataclass(slots=True)
class Driver:
    """Drives the rounds of one run.

    :param submitter: creates jobs; None for those who only read a run.
    :param fetcher: looks at single jobs and collects what has ended.
    :param was_lost: whether the directory was found gone, so that its jobs may live.
    """

    run: RunContext
    submitter: Submitter | None
    fetcher: Fetcher
    was_lost: bool
    _is_followed: bool = False

    def drive(self, a_round: Round, *, is_followed: bool) -> Waiting | None:
        """Do what can be done now.

        :param is_followed: whether there is a later round.
        :return: what to wait for; None when every shard has ended.
        :raises DeadlineError: when the deadline has passed and jobs are left alone.
        :raises LostCreateError: for all creates whose answer was lost and cannot be made up for.
        :raises BatchInferenceError: the worst of what keeps single jobs from being read, once nothing else is left.
        """
        self._check_bytes(a_round)
        self._is_followed = is_followed
        while isinstance(outcome := self._pass(a_round), bool):
            if not outcome:
                return None
            a_round = self.run.ledger.rounds()[a_round.number]
        return outcome

    def _check_bytes(self, a_round: Round) -> None:
        """Refuse records that belong to other bytes: where the plan was deleted and made anew of other rows, a job's
        answers would be taken for those of rows that it was never sent.

        :raises RunConflictError: naming the shard.
        """
        if self.submitter is None:
            return
        for shard, attempt in a_round.creates():
            content = content_of(attempt.token)
            if content and content != self.submitter.looker.content(shard):
                raise RunConflictError(
                    f"{self.run.directory.uri}: a part of the record was deleted, and {shard.name} now holds other "
                    f"rows than create {attempt.number} sent. Restore the directory, or the input as it was; or "
                    "use another output_path, which sends every row again."
                )

    def _pass(self, a_round: Round) -> Waiting | bool:
        """Go over all shards once; what one of them meets holds back no other.

        :return: what to wait for; else whether there is more to do at once.
        """
        found = self._look_over(a_round)
        if (found.live or found.unsent) and self.run.clock() >= (self.run.ledger.tries().deadline or 0):
            if (waiting := self._late(a_round, found)) is not None:
                return waiting
            return self._rest(found) or False
        if found.unsent and self.submitter is None:
            name = found.unsent[0].name
            raise RunConflictError(f"{name} in {self.run.directory.uri} has no job yet; its own task creates it")
        held = self._not_now(a_round, found.unsent, found.live)
        self._send(a_round, [shard for shard in found.unsent if shard.name not in held], found)
        if held and self.run.clock() < a_round.not_before:
            found.look_at.append(a_round.not_before)
        # Else: what was given up has made room.
        return self._rest(found, on_any_end=bool(held)) or bool(held)

    def _rest(self, found: Pass, *, on_any_end: bool = False) -> Waiting | None:
        """What is left to wait for, None when nothing is.

        :raises BatchInferenceError: when nothing is but what could not be read.
        """
        if found.errors and not found.jobs and not found.look_at:
            raise found.worst
        if found.errors:
            found.look_at.append(self.run.clock() + TROUBLE_SECONDS)
        if not found.jobs and not found.look_at:
            return None
        look_at = min(found.look_at, default=None)
        deadline = self.run.ledger.tries().deadline or 0.0
        if look_at is not None and not found.live and not found.unsent:
            deadline = max(deadline, look_at)  # all have ended, and what is missing may come later than that
        return self._waiting(found, WakeRule(deadline, look_at, on_any_end))

    def _look_over(self, a_round: Round) -> Pass:
        """Look at every job, and collect what has ended."""
        found = Pass()
        for shard in a_round.shards:
            while self._look_at(a_round, shard, found):
                pass
        return found

    def _look_at(self, a_round: Round, shard: Shard, found: Pass) -> bool:
        """Look at the job of one shard; True where the next one of the same bytes may have to be read."""
        attempt = self._newest(a_round, shard)
        if attempt is not None and attempt.end is not None:
            return False
        if attempt is None or attempt.job_id is None:
            found.unsent.append(shard)
            return False
        if attempt.is_borrowed:
            found.borrowed.add(attempt.job_id)
        if attempt.open_surplus and self.submitter is not None:
            self.submitter.looker.end_recorded(shard, a_round.attempts[shard.name])
        look = self.fetcher.look(shard, attempt, attempt.job_id)
        if look is True:
            return bool(attempt.same)
        if look is False:
            found.live.append(shard)
            found.jobs[shard.name] = attempt.job_id
        elif isinstance(look, BatchInferenceError):
            self.run.log.error("Job %s could not be collected, the others are: %s", attempt.job_id, look)
            found.live.append(shard)
            found.errors.append(look)
        else:
            found.look_at.append(look)
        return False

    def _newest(self, a_round: Round, shard: Shard) -> Attempt | None:
        """A shard's newest create, or the job that is read next where a borrowed one has left rows open."""
        last = a_round.last(shard)
        if last is None or not last.ended or not last.same or self.submitter is None:
            return last
        if not results.is_open(self.run.directory, shard):
            return last
        following = self.submitter.read_on(shard, last)
        a_round.attempts[shard.name].append(following)
        return following

    def _waiting(self, found: Pass, rule: WakeRule) -> Waiting:
        """A wait for the live jobs, which says which of them are not ours to cancel."""
        ids = tuple(found.jobs.values())
        known = found.borrowed | (self.submitter.borrowed if self.submitter else set())
        return Waiting(ids, rule, tuple(job_id for job_id in ids if job_id in known))

    def _send(self, a_round: Round, shards: list[Shard], found: Pass) -> None:
        """Create what may be created; the provider's list is read at most twice, whatever the number of shards.

        :param found: the jobs of the new ones, and when to look again for those without an answer, are added.
        """
        if not shards or self.submitter is None:
            return
        self.submitter.recount()
        sending = Sending(found.live, found.jobs, found.look_at)
        wanted = [shard for shard in shards if self._must_look(a_round, shard)]
        seen = self._look(a_round, wanted)
        failure: BatchInferenceError | None = None
        try:
            for shard in shards:
                sending.take(shard, lambda shard=shard: self._sent(a_round, shard, found.live, seen.get(shard.name)))  # type: ignore[misc]
        except BatchInferenceError as error:
            failure = error  # the others may be refused, too; what was sent before is looked after all the same
        self._look_back(sending)
        if failure is not None and not (isinstance(failure, AccountError) and (found.look_at or found.jobs)):
            raise failure
        if sending.lost and not found.look_at:
            # All at once, for a person checks every one before allowing for second creates.
            raise LostCreateError("\n".join(str(error) for error in sending.lost))

    def _must_look(self, a_round: Round, shard: Shard) -> bool:
        last = a_round.last(shard)
        return self._memory(a_round, shard) != "new" if last is None else not last.is_given_up

    def _memory(self, a_round: Round, shard: Shard) -> submission.Memory:
        """What it means that the ledger has nothing of a shard. Who has not planned all rounds may work in a directory
        that was put back as it was before this round's jobs."""
        is_new = self.run.planned.issuperset(range(a_round.number + 1))
        was_lost = self.was_lost or shard.name in a_round.forgotten
        return "sent" if self._is_followed else "lost" if was_lost else "new" if is_new else "unsure"

    def _look(self, a_round: Round, shards: list[Shard]) -> dict[str, Seen]:
        """One look for all shards of which an earlier process may have made jobs."""
        assert self.submitter is not None
        wanted = [(shard, a_round.attempts.get(shard.name, [])) for shard in shards]
        # A lost answer or a lost directory must be looked into; else a look is a precaution.
        sure = ("lost", "sent")
        if any(self._memory(a_round, shard) in sure or (many and many[-1].may_live) for shard, many in wanted):
            return self.submitter.looker.look(wanted)
        # What a later round made is younger than the jobs of the round before, so the list is read no further.
        before = self.run.ledger.rounds()[: a_round.number]
        return self.submitter.looker.look_or_go_on(wanted, before[-1].job_ids() if before else ())

    def _look_back(self, sending: Sending) -> None:
        """One look for all creates of this pass: what became of those without an answer, and what else they made."""
        assert self.submitter is not None
        if not sending.created and not sending.unsure:
            return
        shards = [*sending.created, *(shard for shard, _ in sending.unsure)]
        rounds = self.run.ledger.rounds()
        wanted = [(shard, rounds[shard.round].attempts.get(shard.name, [])) for shard in shards]
        seen = self.submitter.looker.look_for_twins(wanted)
        unsure, sending.unsure = sending.unsure, []
        for shard, one in unsure:
            shown = seen.get(shard.name)
            if shown is None or (one.at is not None and not shown.own):
                sending.look_at.append(one.at or self.run.clock() + submission.LOOK_AGAIN_SECONDS)
                continue
            a_round = rounds[shard.round]
            sending.take(shard, lambda: self._sent(a_round, shard, sending.live, shown))  # noqa: B023 - called at once
        # Sent once more and not answered again.
        sending.look_at += [self.run.clock() + submission.LOOK_AGAIN_SECONDS] * bool(sending.unsure)

    def _sent(self, a_round: Round, shard: Shard, live: list[Shard], seen: Seen | None) -> str | float | Unsure | None:
        """The id of a shard's job, when to look again, that a look is needed, or None when it was given up."""
        assert self.submitter is not None
        if self._never_fits(a_round, shard, live):
            return None
        attempts = a_round.attempts.get(shard.name, [])
        try:
            return self.submitter.submit(shard, attempts, self._memory(a_round, shard), seen)
        except BudgetError as error:
            reason = str(error)
        self.run.log.error("%s is not sent: %s", shard.name, reason)
        self.run.ledger.write_tries(replace(self.run.ledger.tries(), stopped=f"{OVER_BUDGET}: {reason}"))
        code = OVER_BUDGET
        if attempts and attempts[-1].may_live:
            settled_at = attempts[-1].intent_at + self.run.backend.find_settle_seconds
            if self.run.clock() < settled_at:
                return min(settled_at, self.run.clock() + submission.LOOK_AGAIN_SECONDS)
            # It is not asked again, for it may have been: its upper end stays counted, and the summary names it.
            code = CREATE_LOST
            reason = f"The create may have been accepted, and the budget does not allow for sending it again: {reason}"
        fenced = self._give_up(a_round, shard, code, reason)
        return None if fenced else self.run.clock() + submission.LOOK_AGAIN_SECONDS

    def _not_now(self, a_round: Round, unsent: list[Shard], live: list[Shard]) -> set[str]:
        """The unsent shards that must wait for time or room."""
        if self.run.clock() < a_round.not_before:
            return {shard.name for shard in unsent}
        allowed = staging.admission_of(self.run.backend, self.run.options)
        smaller = replace(allowed, max_tokens={**allowed.max_tokens, **a_round.max_tokens})
        # A create without an answer may have made a job, so it has its place in the queue.
        begun = [shard for shard in unsent if a_round.last(shard) is not None]
        fresh = [shard for shard in unsent if a_round.last(shard) is None]
        admitted = {shard.name for shard in admit(fresh, [*live, *begun], smaller)}
        return {shard.name for shard in fresh if shard.name not in admitted}

    # ---- giving up ---------------------------------------------------------------------------------------------

    def _never_fits(self, a_round: Round, shard: Shard, live: list[Shard]) -> bool:
        """Whether the queue stays too full for a shard, even alone; then it is given up, to be halved."""
        attempts = a_round.attempts.get(shard.name, [])
        refusals = [attempt.refused for attempt in attempts if attempt.refused]
        if not all(attempt.made_nothing for attempt in attempts) or any(other.model == shard.model for other in live):
            return False  # it may have a job, or there is something to wait for
        if sum(refused.full for refused in refusals) < QUEUE_TRIES:
            return False
        reason = f"The provider's queue is still full: {refusals[-1].error}"
        return self._give_up(a_round, shard, OVER_QUOTA, reason)

    def _give_up(self, a_round: Round, shard: Shard, code: str, reason: str) -> bool:
        """End a shard without a job; False when another process is creating one."""
        last = a_round.last(shard)
        number = last.number + 1 if last else 1
        if not self.run.ledger.claim(shard, number, Intent(given_up=code, at=self.run.clock())):
            return False
        end = collect.give_up(self.run.directory, shard, code, reason, self.run.clock())
        return self.run.ledger.record_end(shard, number, end)

    def _late(self, a_round: Round, found: Pass) -> Waiting | None:
        """The deadline has passed.

        :return: with ``on_deadline="cancel"``, the wait for the jobs to stop; None when there was none.
        :raises DeadlineError: when jobs are left alone.
        """
        jobs, unsent = found.jobs, found.unsent
        tries = self.run.ledger.tries()
        lost = [shard.name for shard in unsent if (last := a_round.last(shard)) and not last.made_nothing]
        unsure = f" Whether {', '.join(lost)} became jobs is unknown; the next try looks for them." if lost else ""
        ended = bool(a_round.ends())
        they_were = "it was" if len(jobs) == 1 else "they were"
        running = f"{counted(len(jobs), 'job')} running ({', '.join(jobs.values())})" if jobs else "no job running"
        if self.run.options.on_deadline == "fail" or tries.stopped or self.submitter is None:
            cancelled = tries.stopped and self.run.options.on_deadline == "cancel"
            if cancelled:
                self.fetcher.cancel()
            if jobs and cancelled:
                what = f"The deadline passed with {running}, although a cancel was requested; this may be billed."
            elif jobs:
                what = f"The deadline passed with {running}; {they_were} left running and may be billed."
            elif lost or ended:
                what = "The deadline passed; no job is known to be running."
            else:
                what = "The deadline passed before anything was sent: no job is running and nothing is billed."
            raise DeadlineError(
                f"{what}{unsure}{_unsent(a_round, unsent)} Clear the task to give it more time; it collects what is "
                "answered meanwhile."
            )
        self.fetcher.cancel()
        stopping = "; cancelling" if jobs else ""
        if lost:
            raise DeadlineError(f"The deadline passed with {running}{stopping}.{unsure}")
        for shard in unsent:
            reason = f"The deadline passed before this request was sent.{a_round.last_refusal([shard])}"
            if not self._give_up(a_round, shard, TOO_LATE, reason):
                raise DeadlineError(f"The deadline passed while another process creates {shard.name}.")
        stopped = f"{counted(len(jobs), 'job')} cancelled" if jobs else "no job was running"
        reason = f"{TOO_LATE}: {stopped}.{_unsent(a_round, unsent)}"
        self.run.log.warning("The deadline passed with %s%s", running, stopping)
        deadline = self.run.clock() + CANCEL_SECONDS
        self.run.ledger.write_tries(Tries(tries.series_start, deadline, reason))
        return self._waiting(found, WakeRule(deadline)) if jobs else None


def _unsent(a_round: Round, shards: list[Shard]) -> str:
    """How many shards are unsent, and the provider's words where it refused them; empty for none."""
    if not shards:
        return ""
    are = "is" if len(shards) == 1 else "are"
    return f" {counted(len(shards), 'shard')} {are} unsent.{a_round.last_refusal(shards)}"
