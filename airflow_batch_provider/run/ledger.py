"""The run directory's record of what was promised, paid and received.

::

    run.json                        who the run is; written once, by exclusive create
    ledger/r0.plan.json             the shards of a round; written once, after all its files are
    ledger/tries.json               the deadline, where this try's rounds begin, why it stopped; the one file rewritten
    ledger/r0-00000.1.intent.json   the exact create call, before it is sent; exclusive, the fence against a second one
    ledger/r0-00000.1.job.json      the job's id, and those of further jobs of the same create, which are cancelled next
    ledger/r0-00000.1.refused.json  the create is known to have made nothing; replaces earlier refusals, too
    ledger/r0-00000.1.cancel.json   we requested the provider to cancel the job
    ledger/r0-00000.1.twin-X.json   a second job of the same create, and whether it was cancelled; X distinguishes them
    ledger/unsent.json              nothing was sent from here yet; removed before the first plan is written
    ledger/lost.json                the ledger was found gone while run.json was there, so its jobs may live
    ledger/id.json                  the directory's id, where run.json is of version 1 and has none
    ledger/r0-00000.1.lost.json     the job or its answers are gone, as far as anybody can see; in the shape of an end
    ledger/r0-00000.1.end.json      how the job ended and what its rows became; after ``collected/`` is written
    ledger/r0-00000.1.doubt.json    since when and how often in a row the job it names, or its answers, were missing
    ledger/known.json               on a store: a copy of facts that are there, so that they are read by one trip; see
                                    :mod:`airflow_batch_provider.run.fact_files`

Facts are added as files, never changed, so a process killed anywhere leaves a record that the next one can read; only
``tries.json``, doubts and the copy are rewritten. One kind of fact is taken away: of a shard that is refused again and
again, the last refusal says how often and since when, and the earlier ones are removed. The first intent is kept, and
whoever writes a later one looks whether there is one later still: so a process that has slept since an old refusal
cannot take a number whose file is gone.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import cast, get_args

from airflow_batch_provider import __version__
from airflow_batch_provider.core.counts import Usage
from airflow_batch_provider.core.errors import RunConflictError
from airflow_batch_provider.core.identity import new_directory_id
from airflow_batch_provider.core.records import JSON, Job, RunOptions, Shard
from airflow_batch_provider.core.redaction import without_secrets
from airflow_batch_provider.core.summary import RunSummary
from airflow_batch_provider.run.attempts import Attempt, Round, creates, newest
from airflow_batch_provider.run.fact_files import FactFiles
from airflow_batch_provider.run.facts import (
    Cancel,
    DirectoryId,
    Doubt,
    End,
    Fact,
    Intent,
    Made,
    R,
    Record,
    Refused,
    RoundPlan,
    RunRecord,
    Tries,
    Twin,
    read_as,
)
from airflow_batch_provider.run.storage import RunDirectory

VERSIONS = (1, 2)
"""Of ``run.json``, which this release reads."""
_FACTS = get_args(Fact)
_RUN, _TRIES = "run.json", "ledger/tries.json"


class Ledger:
    """Reads and writes the record of one run.

    :param directory: the run directory.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._files = FactFiles(directory)
        self._facts: dict[str, Record] = {}
        self._is_readable = False
        self._lost: bool | None = None

    def run(self) -> RunRecord | None:
        """``run.json``, None where no run was begun.

        :raises RunConflictError: when another release of this package wrote it, which this one cannot read.
        """
        given = self._directory.read_json(_RUN)
        if given is None:
            return None
        self._check_version(given)
        return self._as(RunRecord, _RUN, given)

    def _check_version(self, given: JSON) -> None:
        version = given.get("version")
        if version in VERSIONS:
            self._is_readable = True
            return
        path = f"{self._directory.uri}/{_RUN}"
        this = f"airflow-batch-provider {__version__}, which is installed here, reads {_versions()}"
        if isinstance(version, int) and version > max(VERSIONS):
            raise RunConflictError(
                f"{path} is a record of version {version}; {this}. Install the release that wrote it, or a later one, "
                "and run the task again. Nothing was sent or cancelled."
            )
        raise RunConflictError(
            f"{path} is not a record of any release: its version is {version!r}; {this}. Restore it from a copy. "
            "Nothing was sent or cancelled."
        )

    def _as(self, kind: type[R], name: str, given: JSON) -> R:
        """A file as the record that it holds."""
        try:
            return kind.read(given)
        except (KeyError, TypeError, AttributeError) as error:
            raise self._directory.changed(name, f"does not hold what was written there ({error})") from error

    def directory_id(self, run: RunRecord) -> str:
        """The directory's own random id."""
        if run.id:
            return run.id
        self._files.create("id.json", {"id": new_directory_id()})
        return self._fact("id.json", DirectoryId).id

    def note_unsent(self) -> None:
        """Leave word that nothing was sent from this directory, before anything else is written."""
        self._directory.create_json("ledger/unsent.json", {})

    def is_unsent(self) -> bool:
        """Whether it is certain that nothing was ever sent from this directory."""
        return self._directory.read("ledger/unsent.json") is not None and not self.is_begun()

    def note_lost(self) -> None:
        """Leave word that an earlier ledger of this directory was deleted."""
        self._directory.create_json("ledger/lost.json", {})
        self._lost = True

    def was_lost(self) -> bool:
        """Whether an earlier ledger of this directory was deleted."""
        if self._lost is None:
            self._lost = self._directory.read("ledger/lost.json") is not None
        return self._lost

    def is_begun(self) -> bool:
        """Whether there is any record of a create."""
        return any(_parts(name)[2] for name in self._files.names())

    def begin(self, run: RunRecord) -> bool:
        """Write ``run.json``; False when another process did."""
        return self._directory.create_json(_RUN, run.written())

    def rounds(self) -> list[Round]:
        """All rounds with all that is known of their jobs, oldest first.

        :raises RunConflictError: as :meth:`run`.
        """
        if not self._is_readable:
            self.run()
        for _ in range(3):
            try:
                return self._rounds()
            except _GoneError:  # noqa: PERF203 - another process has just removed it, see fold
                continue
        return self._rounds()

    def _rounds(self) -> list[Round]:
        names = self._files.names()
        self._lost = "lost.json" in names
        parts = [(*_parts(name), name) for name in names]
        plans = itertools.takewhile(names.__contains__, map("r{}.plan.json".format, itertools.count()))
        self._files.fetch([*plans, *(name for *_, kind, name in parts if kind and kind != "doubt")])
        rounds: list[Round] = []
        while f"r{len(rounds)}.plan.json" in names:
            plan = self._fact(f"r{len(rounds)}.plan.json", RoundPlan)
            rounds.append(Round(len(rounds), [*plan.shards], plan.planned_at, plan.not_before, plan.max_tokens))
        facts = sorted((shard, int(number), name, kind) for shard, number, kind, name in parts if kind)
        for (shard, number), some in itertools.groupby(facts, key=lambda fact: fact[:2]):
            round_no = int(shard[1:].split("-")[0])
            if round_no < len(rounds):
                attempt = Attempt(number)
                for _, _, name, kind in some:
                    self._add(attempt, kind, name)
                rounds[round_no].add(shard, attempt)
        return rounds

    def _add(self, attempt: Attempt, kind: Fact, name: str) -> None:
        """Add to a create what a file says of it."""
        match kind:
            case "intent":
                attempt.intent = self._fact(name, Intent)
            case "job":
                attempt.job = self._fact(name, Made)
            case "refused":
                attempt.refused = self._fact(name, Refused)
            case "cancel":
                attempt.cancel = self._fact(name, Cancel)
            case "lost":
                attempt.lost = self._fact(name, End)
            case "end":
                attempt.ended = self._fact(name, End)
            case "twin":
                attempt.twins.append(self._fact(name, Twin))
            case "doubt":
                attempt.doubted = True

    def _fact(self, name: str, kind: type[R]) -> R:
        """A file that never changes once it is there, so it is read once."""
        if name not in self._facts:
            given = self._files.get(name)
            if given is None:
                raise _GoneError(f"{self._directory.uri}/ledger/{name} vanished; restore the run directory")
            self._facts[name] = self._as(kind, f"ledger/{name}", given)
        return cast(R, self._facts[name])

    def keep(self) -> None:
        """Leave what is known for the next process, so that it need not read every fact by itself."""
        self._files.keep()

    def plan(
        self,
        number: int,
        shards: Sequence[Shard],
        now: float,
        not_before: float = 0.0,
        max_tokens: Mapping[str, int] = MappingProxyType({}),
    ) -> bool:
        """Record a round whose files are all written; False when another process has planned it."""
        plan = RoundPlan([*shards], now, not_before, {**max_tokens})
        self._directory.remove("ledger/unsent.json")
        return self._files.create(f"r{number}.plan.json", plan.written())

    def record(self, shard: Shard, number: int, fact: Intent | Made | Refused | Cancel) -> bool:
        """Add a fact; False when it is there already."""
        return self._record(shard, number, fact.fact, fact)

    def _record(self, shard: Shard, number: int, kind: Fact, fact: Record) -> bool:
        return self._files.create(_name(shard, number, kind), fact.written())

    def job_of(self, shard: Shard, number: int) -> str:
        """The job of a create, as whoever was first has recorded it."""
        return self._fact(f"{shard.name}.{number}.job.json", Made).job_id

    def claim(self, shard: Shard, number: int, intent: Intent) -> bool:
        """Write an intent, the fence before a create; False when another process has this number or a later one."""
        if not self.record(shard, number, intent):
            return False
        if number == 1:
            return True
        others = (_parts(name) for name in self._files.names())
        if any(name == shard.name and int(other) > number for name, other, kind in others if kind):
            self._files.remove(_name(shard, number, "intent"))
            return False
        return True

    def fold(self, shard: Shard, first: int, number: int) -> None:
        """Remove a refused create whose refusal a later one replaces.

        :param first: the first of those that it replaces; its intent is kept as a fence.
        :param number: the one to remove.
        """
        self._files.remove(_name(shard, number, "refused"))
        if number != first:
            self._files.remove(_name(shard, number, "intent"))

    def record_twin(self, shard: Shard, number: int, job: Job, *, cancelled: bool) -> bool:
        """Add that a create made a second job; False when it is known already."""
        apart = hashlib.sha256(job.id.encode()).hexdigest()[:12]
        twin = Twin(job.id, job.status.value, cancelled)
        return self._files.create(f"{shard.name}.{number}.twin-{apart}.json", twin.written())

    def record_end(self, shard: Shard, number: int, end: End) -> bool:
        """Add how a create's job ended; False when it is there already."""
        return self._record(shard, number, "end", end)

    def record_lost(self, shard: Shard, number: int, end: End) -> bool:
        """Add that a job or its answers are gone; a later try may still find them and add the end."""
        return self._record(shard, number, "lost", end)

    def doubt(self, shard: Shard, number: int, job_id: str, now: float) -> Doubt:
        """Note one more look at a job that found less than there should be.

        :return: when the first in a row was, seconds since the epoch, and how many they are.
        """
        known = self._doubt(shard, number)
        if known.job_id not in (None, job_id):
            known = Doubt()  # of a job whose record was deleted since
        doubt = Doubt(known.first if known.looks else now, known.looks + 1, job_id)
        self._directory.write_json(f"ledger/{_name(shard, number, 'doubt')}", doubt.written())
        return doubt

    def _doubt(self, shard: Shard, number: int) -> Doubt:
        name = f"ledger/{_name(shard, number, 'doubt')}"
        return self._as(Doubt, name, self._directory.read_json(name) or {})

    def no_doubt(self, shard: Shard, number: int) -> None:
        """Note a look that found all there should be, so that the next doubt begins anew."""
        if self._doubt(shard, number).looks:
            self._directory.write_json(f"ledger/{_name(shard, number, 'doubt')}", Doubt().written())

    def tries(self) -> Tries:
        """``tries.json``."""
        return self._as(Tries, _TRIES, self._directory.read_json(_TRIES) or {})

    def write_tries(self, tries: Tries) -> None:
        """Replace ``tries.json``."""
        self._directory.write_json(_TRIES, tries.written())

    def lost_attempts(self, rounds: Iterable[Round]) -> list[tuple[Shard, Attempt]]:
        """Every create whose job or answers are gone, and whose rows were not sent again."""
        return [(shard, last) for shard, last in newest(rounds) if last is not None and last.is_lost]

    def settle_lost(self) -> None:
        """What is lost is lost for good: its rows are about to be sent again."""
        for shard, attempt in self.lost_attempts(self.rounds()):
            if attempt.lost is not None:
                self.record_end(shard, attempt.number, attempt.lost)

    def lives_again(self, shard: Shard, number: int) -> None:
        """Take back that a job or its answers are gone, because it was found again."""
        name = _name(shard, number, "lost")
        self._facts.pop(name, None)
        self._files.remove(name)

    def open_attempts(self) -> list[tuple[Shard, Attempt]]:
        """Every create that may have made a job whose rows are not collected yet."""
        return [
            (shard, attempt)
            for shard, attempt in creates(self.rounds())
            if attempt.end is None and (attempt.job_id or not attempt.made_nothing)
        ]

    def summary(self) -> RunSummary | None:
        """The summary of a run that has ended, None before; one that an error stopped has not."""
        data = self._directory.read_json("summary.json")
        if data is None or data.get("open"):
            return None
        lists = {name: tuple(value) for name, value in data.items() if isinstance(value, list)}
        return read_as(RunSummary, {**data, **lists, "usage": read_as(Usage, data["usage"])})

    def write_summary(self, summary: RunSummary) -> None:
        """Write ``summary.json``, the last file of a run."""
        self._directory.write_json("summary.json", asdict(summary))


class _GoneError(RunConflictError):
    """A fact that was listed is not there."""


def recorded(options: RunOptions) -> JSON:
    """The author's options as ``run.json`` holds them, without the secrets of ``extra_body``."""
    given = options.backend_options
    if given.get("extra_body"):
        given = {**given, "extra_body": without_secrets(given["extra_body"])}
    return {**asdict(options), "backend_options": given}


def _name(shard: Shard, number: int, kind: Fact) -> str:
    """The file of a fact, in ``ledger/``."""
    return f"{shard.name}.{number}.{kind}.json"


def _versions() -> str:
    return f"records of version {' and '.join(map(str, VERSIONS))}"


def _parts(name: str) -> tuple[str, str, Fact | None]:
    """``r0-00000.1.intent.json`` -> shard, number, kind; kind None for any other file."""
    pieces = name.split(".")
    kind = pieces[2].partition("-")[0] if len(pieces) == 4 else ""
    if kind not in _FACTS or pieces[3] != "json":
        return "", "", None
    return pieces[0], pieces[1], cast(Fact, kind)
