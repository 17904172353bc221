"""Runs that are killed again and again until they are done, on one route after the other; see ``kill.py``."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from airflow_batch_provider.connections.gateways import CLAUDE
from airflow_batch_provider.testing.faults import FaultPlan
from airflow_batch_provider.testing.routes import ROUTES, FakeRoute, fake_route
from benchmarks.kill_attempts import Attempt, Phase, Zygote
from benchmarks.kill_checks import NAMED, STOPPED, Account, Expected, Made, token_of
from benchmarks.kill_troubles import TROUBLES, Digests, dealt, lose, prompt

NATIVE = ("anthropic.claude-3-haiku-20240307-v1:0", "meta.llama3-1-8b-instruct-v1:0", "amazon.nova-lite-v1:0")
BEHIND = (CLAUDE, "anthropic.claude-3-sonnet-20240229-v1:0", "anthropic.claude-3-5-sonnet-20240620-v1:0")
GEMINIS = ("gemini-2.5-flash", "gemini-2.5-pro", "gemini-2.0-flash")
SETTLE_SECONDS = 0.7
"""How long a lost create is looked for, in place of the real 900 s; most late accepts come sooner."""
LATENCY = 0.004
QUIET_SECONDS = 0.3
"""After so long the fake has done what dead processes asked of it."""
MOST_TRIES = 40
LEFT = 0.75
"""How much of a run each kill leaves to its successor, on average."""
LONGEST = {"any": 0.0, "ledger": 0.004, "create": 0.06, "collect": 0.02}
"""Seconds in which a point is passed; the kill comes anywhere in them."""


class BreachError(Exception):
    """A law was broken; the message says which, where, and how to see it again."""


@dataclass(frozen=True)
class Scenario:
    """What one run goes through.

    :param kills: how many kills at most.
    :param expiring: how many jobs of round 0 expire.
    :param lost: fault plan of lost creates: field and value.
    :param slow: seconds between accepting and answering, create by create.
    :param two: whether successors start while their predecessors live.
    :param trouble: what else goes wrong; see :mod:`benchmarks.kill_troubles`.
    :param plan: fault plan of the trouble: field and value.
    :param lose_after: after how many kills something is deleted.
    :param sabotage: how the code under test is broken, to see that it is noticed.
    :param aim: point, how many of them to let pass, and seconds after it; None for chance.
    """

    kills: int
    expiring: int = 3
    slow: tuple[float, ...] = ()
    lost: tuple[tuple[str, Any], ...] = ()
    two: bool = False
    trouble: str = "none"
    plan: tuple[tuple[str, Any], ...] = ()
    lose_after: int = 0
    sabotage: str = ""
    aim: tuple[str, int, float] | None = None

    @classmethod
    def draw(cls, rng: random.Random, kills: int, name: str = "none") -> Scenario:
        trouble = TROUBLES[name]
        slow = tuple(rng.uniform(0.01, 0.08) for _ in range(6))
        kind = rng.choice(["", "", "", "cut_before_accept", "cut_after_accept", "late_accept"])
        value: Any = rng.randint(1, 2)
        if kind == "late_accept":  # a few come later than anybody waits
            value = [rng.choice([rng.uniform(0.02, 0.4), SETTLE_SECONDS * 1.5]) for _ in range(value)]
        # What was sent and comes to be after the record was deleted is beyond anybody's knowledge.
        quiet = trouble.loses and kind == "late_accept"
        lost = ((kind, value),) if kind and not quiet and not trouble.neighbour else ()
        plan = tuple((field, drawn(rng)) for field, drawn in trouble.plan.items())
        # Late answers of jobs that are completed, too.
        expiring = rng.randint(0 if name == "late output" else 1, 3)
        two = rng.random() < 0.35 and not trouble.is_alone
        return cls(kills, expiring, slow, lost, two, name, plan, rng.randint(1, max(1, min(2, kills))))


@dataclass
class Tally:
    """What happened on one route."""

    route: str
    kills: int = 0
    runs: int = 0
    tries: int = 0
    created: int = 0
    needed: int = 0
    rows: int = 0
    refused: int = 0
    twins: int = 0
    phases: Counter[Phase] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


class Bench:
    """One route: its fake, its input, and all the runs on it.

    :param seed: with the route and a run's number, the seed of that run's chances.
    """

    def __init__(self, route: FakeRoute, zygote: Zygote, folder: Path, seed: int) -> None:
        self.route = route
        self.tally = Tally(route.name)
        self.seed = seed
        self.span = 1.0
        self._offset = list(ROUTES).index(route.name)
        self._zygote = zygote
        self.folder = folder
        self._input = folder / "in.jsonl"
        self._turned = folder / "turned.jsonl"
        rows = [json.dumps(line) + "\n" for line in self._lines()]
        self._input.write_text("".join(rows))
        # Every shard's rows in another order: the models come by turns of three.
        self._turned.write_text("".join(rows[3:] + rows[:3]))

    @property
    def repeats(self) -> bool:
        """Whether a lost create is sent again rather than refused."""
        return self.route.name == "bedrock"

    def _lines(self) -> Iterator[dict[str, Any]]:
        """Three models, of which the second round asks half: two rows each, or the provider's minimum."""
        self.half = max(2, self.route.min_rows)
        name = self.route.name
        models = {"bedrock": NATIVE}.get(name, BEHIND if name.endswith("_bedrock") else GEMINIS)
        for number in range(self.half * 2 * len(models)):
            message = {"role": "user", "content": prompt(f"row-{number}")}
            body = {"model": models[number % len(models)], "messages": [message], "max_tokens": 16}
            yield {
                "custom_id": f"row-{number}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": body,
            }

    @property
    def ids(self) -> list[str]:
        return [f"row-{number}" for number in range(self.half * 6)]

    # ---- runs --------------------------------------------------------------------------------------------------

    def measure(self) -> None:
        """Run once without a kill, to see how long a run takes."""
        self.run(-1, Scenario(kills=0, slow=(0.04,) * 6))

    def run(self, number: int, scenario: Scenario | None = None, kills: int = 5) -> None:
        """One run, from its first try to its end, and the checks.

        :raises BreachError: when anything does not hold.
        """
        name = dealt(number, self._offset)
        scenario = scenario or Scenario.draw(self.chances(f"{number}/scenario"), kills, name)
        folder = self.folder / f"run-{number}"
        before = len(self.route.fake.batches)
        self.plan_faults(scenario, before)
        one = OneRun(self, folder, scenario, number)
        try:
            one.to_the_end()
            account = one.account()
            wrong = account.breaches()
        except BreachError as error:
            wrong = [str(error)]
        finally:
            one.kill_all()
        if wrong:
            raise BreachError(self._story(number, scenario, folder, wrong))
        self.tally.runs += 1
        self.tally.created += len(one.jobs())
        self.tally.needed += account.needed
        self.tally.troubles[scenario.trouble if one.was_troubled else "none"] += 1
        self.tally.rows += len(self.ids)
        shutil.rmtree(folder)

    def chances(self, name: str) -> random.Random:
        """The same for the same seed, route and name."""
        return random.Random(f"{self.seed}/{self.route.name}/{name}")

    def plan_faults(self, scenario: Scenario, before: int) -> None:
        """Tell the fake what to do wrong.

        :param before: jobs that exist already; faults of jobs count from the first one ever.
        """
        plan: dict[str, Any] = {"latency": LATENCY, "slow_accept": list(scenario.slow)}
        if scenario.expiring:
            plan["expire_after_rows"] = self.half
        everywhere = TROUBLES[scenario.trouble].for_all_jobs
        plan["jobs"] = None if everywhere else before + (scenario.expiring or 3)
        faults = (*scenario.lost, *scenario.plan)
        plan.update((name, list(value) if isinstance(value, list) else value) for name, value in faults)
        fresh = FaultPlan(**plan)
        for each in fields(FaultPlan):
            setattr(self.route.fake.faults, each.name, getattr(fresh, each.name))

    def token_of(self, job: dict[str, Any]) -> str | None:
        """The token that a job at the fake carries; a gateway over a cloud keeps it in the name of the file alone."""
        token = token_of(job)
        if token is None and "input_file_id" in job:
            token = token_of(self.route.fake._store.file(job["input_file_id"]))
        return token

    def order(
        self, folder: Path, number: int, first_try: bool, lost: str, sabotage: str, turned: bool = False
    ) -> dict[str, Any]:
        """What an attempt is told."""
        return {
            "route": self.route.name,
            "connection": self.route.connection,
            "folder": str(folder / "run"),
            "log": str(folder / "attempts.log"),
            "input_path": str(self._turned if turned else self._input),
            "run_key": f"kill/{self.seed}/{number}/-1",
            "first_try": first_try,
            "on_lost_create": lost,
            "settle": SETTLE_SECONDS,
            "sabotage": sabotage,
        }

    def start(self, order: dict[str, Any]) -> Attempt:
        self.tally.tries += 1
        return self._zygote.start(order)

    def _story(self, number: int, scenario: Scenario, folder: Path, wrong: list[str]) -> str:
        log = folder / "attempts.log"
        tail = log.read_text(errors="replace").split("\n")[-40:] if log.is_file() else []
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        listing = [str(folder), *(f"{path.stat().st_size:8} {path.relative_to(folder)}" for path in paths)]
        again = f"python benchmarks/kill.py --route {self.route.name} --seed {self.seed} --first-run {number}"
        return "\n".join([f"BREACH on {self.route.name}, {scenario}", *wrong, *listing, *tail, f"again: {again}"])


class OneRun:
    """One run directory, and those who work in it."""

    def __init__(self, bench: Bench, folder: Path, scenario: Scenario, number: int) -> None:
        self._bench = bench
        self._folder = folder
        self._scenario = scenario
        self._rng = bench.chances(f"{number}/kills")
        self._number = number
        self._before = len(bench.route.fake.batches)
        self._alive: list[Attempt] = []
        self._kills = 0
        self._tries = 0
        self._lost = "fail"
        self._refused: set[str] = set()
        self._trouble = TROUBLES[scenario.trouble]
        self._neighbour: Attempt | None = None
        self._before_loss: int | None = None
        self._cancels = len(bench.route.fake.calls("cancel"))
        folder.mkdir(parents=True)

    def jobs(self) -> list[dict[str, Any]]:
        """The jobs that exist at the provider because of this run."""
        return list(self._bench.route.fake.batches[self._before :])

    @property
    def was_troubled(self) -> bool:
        """Whether the trouble came to pass: a run may end before its record is deleted."""
        return not self._trouble.loses or self._before_loss is not None

    def account(self) -> Account:
        """What the checks need."""
        fake, planned = self._bench.route.fake, dict(self._scenario.plan)
        twins = 0 if self._bench.repeats else planned.get("create_twice", 0) - fake.faults.create_twice
        expected = Expected(
            rounds=2 if self._scenario.expiring else 1,
            twins=twins,
            before=(self._before_loss or 0) if self._trouble.turns else 0,
            lost=self._before_loss is not None,
            neighbour=self._near / "run" if self._trouble.neighbour else None,
        )
        made = [
            Made(self._bench.token_of(job), bool(STOPPED.search(str(job.get("status") or job.get("state")))))
            for job in self.jobs()
        ]
        cancels = len(fake.calls("cancel")) - self._cancels
        return Account(self._folder / "run", self._bench.ids, made, cancels, expected)

    def kill_all(self) -> None:
        for each in (*self._alive, *([self._neighbour] if self._neighbour else [])):
            each.kill()

    def to_the_end(self) -> None:
        """Start, kill, start again, until an attempt says that it is done and none is alive."""
        if self._trouble.neighbour:
            self._meet_neighbour()
        self._work()
        if self._neighbour is not None:
            self._neighbour.follow(time.monotonic() + 120)
            if self._neighbour.last_word != "done":
                raise BreachError(f"the neighbour failed: {self._neighbour.reports[-3:]}")

    @property
    def _near(self) -> Path:
        return self._folder / "neighbour"

    def _meet_neighbour(self) -> None:
        """Start another directory's run of the same key, and let it make some of its jobs."""
        self._near.mkdir()
        turned = self._trouble.neighbour == "turned"
        order = self._bench.order(self._near, self._number, True, "fail", "", turned)
        self._neighbour = self._bench.start(order)
        for _ in range(self._rng.randint(0, 4)):
            self._neighbour.follow(time.monotonic() + 60, lambda word: word == "-create")

    def _lose_some(self) -> None:
        """Delete what the trouble deletes, once there are jobs, and when the provider has done all it was asked."""
        if not self._trouble.loses or self._before_loss is not None or self._kills < self._scenario.lose_after:
            return
        time.sleep(QUIET_SECONDS)
        if self.jobs() and lose(self._folder / "run", self._trouble.loses, self._rng):
            self._before_loss = len(self.jobs())

    def _work(self) -> None:
        done = False
        while not done or self._alive:
            if self._tries > MOST_TRIES:
                raise BreachError(f"the run is not done after {self._tries} tries")
            if not self._alive:
                self._lose_some()
                self._start()
            killing = self._kills < self._scenario.kills
            if killing and not done and self._may_be_two():
                self._alive[0].follow(time.monotonic() + self._rng.uniform(0, self._bench.span * 0.6))
                self._start()
                self._bench.tally.twins += 1
            victim = self._alive.pop(self._rng.randrange(len(self._alive)))
            try:
                if killing:
                    self._aim(victim)
                else:
                    victim.follow(time.monotonic() + 120)
            finally:
                hit = None if victim.ended else victim.kill()
            if hit is not None and not killing:
                raise BreachError(
                    f"an attempt that nobody killed did not end; it stood in {hit}: {victim.reports[-3:]}"
                )
            self._lost = "fail"
            if hit is not None:
                self._kills += 1
                self._bench.tally.kills += 1
                self._bench.tally.phases[hit] += 1
            else:
                done = self._heard(victim) or done

    def _start(self) -> None:
        turned = self._trouble.turns and self._before_loss is not None
        told = (self._number, self._tries == 0, self._lost, self._scenario.sabotage, turned)
        order = self._bench.order(self._folder, *told)
        self._tries += 1
        self._alive.append(self._bench.start(order))

    def _aim(self, victim: Attempt) -> None:
        """Follow the victim until the instant at which it is to die."""
        rng = self._rng
        point = rng.choice(["any", "any", "ledger", "ledger", "ledger", "create", "create", "collect"])
        if self._scenario.aim is None and point == "any":
            victim.follow(time.monotonic() + 10, lambda word: word == "+run")
            victim.follow(time.monotonic() + rng.uniform(0, self._bench.span * LEFT**self._kills))
            return
        longest = LONGEST[point] * rng.choice([0.05, 1.0])  # half of them at once, since a write may be quick
        passing = rng.randrange(7) if point == "ledger" else rng.choice([0, 0, 1, 2])
        point, passing, pause = self._scenario.aim or (point, passing, rng.uniform(0, longest))
        for _ in range(passing + 1):
            if not victim.follow(time.monotonic() + 30, lambda word: word.startswith(f"+{point}")):
                return
        end = time.monotonic() + pause
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.0002))

    def _heard(self, attempt: Attempt) -> bool:
        """Whether the attempt that ended by itself says that the run is done."""
        word = attempt.last_word
        if word == "done":
            if self._tries == 1 and attempt.ran_at is not None:
                self._bench.span = time.monotonic() - attempt.ran_at
            return True
        if word.startswith("later") and self._is_late_behind_a_gateway:
            self._bench.tally.refused += 1
            return False
        if not word.startswith("refused"):
            raise BreachError(f"an attempt failed: exit code {attempt.exit_code}, {word or attempt.reports[-3:]}")
        self._bench.tally.refused += 1
        if self._bench.repeats:
            raise BreachError(f"a create that can be repeated was refused: {word}")
        self._refused = set(NAMED.findall(word))
        if not self._alive:
            self._after_refusal()
        return False

    @property
    def _is_late_behind_a_gateway(self) -> bool:
        """Where output that is not there yet is an error 500, which only a later try may read."""
        behind = self._bench.route.name.startswith(("portkey_", "truefoundry_"))
        return behind and self._scenario.trouble == "late output"

    def _may_be_two(self) -> bool:
        """Never after a refusal: what a person decides holds while nobody else works on the run."""
        return self._scenario.two and not self._refused and len(self._alive) < 2

    def _after_refusal(self) -> None:
        """Do what the error asks of a person: look at the provider, and resubmit only what it truly has not."""
        faults = self._bench.route.fake.faults
        latest = max((max(values) for name, values in self._scenario.lost if name == "late_accept"), default=0.0)
        time.sleep(QUIET_SECONDS + latest)
        tokens = [self._bench.token_of(job) or "" for job in self.jobs()]
        if not any(name in token for name in self._refused for token in tokens):
            faults.late_accept = []  # or the next one would be resubmitted while it is on its way
            self._lost = "resubmit"


@contextlib.contextmanager
def bench_of(name: str, zygote: Zygote, seed: int) -> Iterator[Bench]:
    """A route with its fake running; its folder stays when a law was broken."""
    folder = Path(tempfile.mkdtemp(prefix=f"kill-{name}-"))
    with fake_route(name, FaultPlan(), engine=Digests()) as route:
        bench = Bench(route, zygote, folder, seed)
        started = time.monotonic()
        try:
            yield bench
        except BreachError:
            raise
        except BaseException:
            shutil.rmtree(folder)
            raise
        else:
            shutil.rmtree(folder)
        finally:
            bench.tally.seconds = time.monotonic() - started
