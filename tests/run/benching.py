"""A run against a fake provider, with a clock that tests move."""

import json
import time
from pathlib import Path

from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.route import Route
from airflow_batch_provider.core.polling import Waiting
from airflow_batch_provider.core.records import RunOptions
from airflow_batch_provider.run.run import BatchRun, Done
from airflow_batch_provider.run.storage import RunDirectory
from airflow_batch_provider.testing import FakeProvider
from tests.facts import wire_facts
from tests.patience import PATIENCE


class Clock:
    """Real time plus what a test has slept."""

    def __init__(self):
        self.ahead = 0.0

    def __call__(self):
        return time.time() + self.ahead

    def sleep(self, seconds):
        self.ahead += seconds


def line(number, model="m", **body):
    message = {"role": "user", "content": f"say {number}"}
    return {
        "custom_id": f"row-{number}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": model, "messages": [message], **body},
    }


class Bench:
    """One input file, one run directory, one fake provider."""

    def __init__(self, folder: Path, fake: FakeProvider):
        self.fake = fake
        self.clock = Clock()
        self.input = folder / "in.jsonl"
        self.path = folder / "run"
        self.backend = self.make_backend(fake)
        self.directory_class = RunDirectory

    def make_backend(self, fake):
        return OpenAIBackend(Route(fake.base_url, (("Authorization", f"Bearer {fake.api_key}"),)), wire_facts())

    def write(self, lines):
        self.input.write_text("".join(json.dumps(one) + "\n" for one in lines))

    def run(self, run_key="dag/task/run/-1", directory=None, **options):
        kwargs = {name: options.pop(name) for name in ("stopped", "input_file_id") if name in options}
        return BatchRun(
            directory or self.directory_class(str(self.path)),
            self.backend,
            RunOptions(**options),
            run_key=run_key,
            conn_id="c",
            input_path=str(self.input),
            clock=self.clock,
            pause=self.clock.sleep,
            **kwargs,
        )

    def finish(self, run=None, *, first_try=True, **options):
        """Begin and advance until done; waits as a trigger would."""
        run = run or self.run(**options)
        run.begin(first_try=first_try)
        return self.go_on(run)

    def go_on(self, run, seconds=PATIENCE):
        until = time.time() + seconds
        while time.time() < until:
            outcome = run.advance()
            if isinstance(outcome, Done):
                return outcome.summary
            assert isinstance(outcome, Waiting)
            if outcome.rule.look_at is not None and not outcome.jobs:
                self.clock.ahead += max(0.0, outcome.rule.look_at - self.clock())
            time.sleep(0.02)
        raise AssertionError(f"still waiting for {outcome}")

    def results(self):
        found = {}
        for part in sorted((self.path / "results").iterdir()):
            for raw in part.read_bytes().split(b"\n")[:-1]:
                one = json.loads(raw)
                assert one["custom_id"] not in found, "a custom_id came twice"
                found[one["custom_id"]] = one
        return found

    def failed(self):
        return [json.loads(raw) for raw in (self.path / "failed.jsonl").read_bytes().split(b"\n")[:-1]]

    def asked(self):
        """How often each row was sent in a batch that exists."""
        return len(self.fake.batches)
