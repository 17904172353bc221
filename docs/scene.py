"""What the pictures show: an Airflow with the example DAGs, a batch server that takes its time, fakes of two others."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import TracebackType

from airflow_batch_provider.testing import FaultPlan
from airflow_batch_provider.testing.airflow_stack import AirflowStack
from airflow_batch_provider.testing.routes import fake_route
from airflow_batch_provider.testing.server_process import ServerProcess

ROOT = Path(__file__).resolve().parent.parent
DAGS = ("quickstart", "backfill_reviews", "compare_models", "submit_here_fetch_there")
DAYS = 7
ROWS = 200
ASKED = 150  # three a second
PRICES = {"*": {"input": 0.1, "output": 0.4}}
BAD_LINES = '''"""A file that somebody made by hand, with two lines that no provider would take."""

from airflow.sdk import DAG

from airflow_batch_provider.operators.batch_inference import BatchInferenceOperator

with DAG(dag_id="bad_lines", schedule=None, default_args={"retries": 3}, tags=["batch-inference"]):
    BatchInferenceOperator(
        task_id="answer",
        input_path="{{ var.value.quickstart_folder }}/by_hand.jsonl",
        output_path="{{ var.value.quickstart_folder }}/{{ run_id }}",
        conn_id="local_batch",
    )
'''
SAID = (
    "The battery lasts two days, and it charges in an hour.",
    "It broke in the first week and nobody answered my letters.",
    "Clear sound, light, and cheaper than the one I had before.",
    "The screen is dim and the buttons stick.",
    "I bought a second one for my sister.",
)


class Scene:
    """What is looked at: Airflow with the example DAGs, a batch server that takes its time, and fakes of two others."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="airflow-"))
        self.runs = self.folder / "runs"
        self._open = contextlib.ExitStack()
        self._open.callback(shutil.rmtree, self.folder, ignore_errors=True)

    def __enter__(self) -> Scene:
        try:
            self._prepare()
            self.server = self._open.enter_context(
                ServerProcess(self.folder / "server", "echo", "--latency", "1.5", "--slots", "5")
            )
            planned = FaultPlan(fail_rows={"review-7": 400, "review-23": 400})
            self.portkey = self._open.enter_context(fake_route("portkey", planned))
            self.bedrock = self._open.enter_context(fake_route("bedrock"))
            stack = AirflowStack(self.folder / "airflow", self.folder / "dags", self._environment(), say)
            self.airflow = self._open.enter_context(stack)
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._open.close()

    def _prepare(self) -> None:
        dags, days = self.folder / "dags", self.folder / "reviews"
        for folder in (dags, days, self.runs):
            folder.mkdir()
        for name in DAGS:
            shutil.copy(ROOT / "dags" / f"{name}.py", dags)
        (dags / "bad_lines.py").write_text(BAD_LINES)
        (self.folder / "reviews.csv").write_text(reviews(ROWS))
        now = datetime.now(timezone.utc)  # the scheduler adds the day that has just begun, or ended
        recent = [f"{now - timedelta(days=ago):%Y-%m-%d}" for ago in (0, 1)]
        for day in [*(f"2026-01-{number:02d}" for number in range(1, DAYS + 1)), *recent]:
            (days / f"{day}.csv").write_text(reviews(5, f"{day}/"))
        good = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": []}}
        good["body"] = {"messages": [{"role": "user", "content": SAID[0]}]}
        lines = [json.dumps(good), '{"custom_id": "b", "body": {', json.dumps(good)]
        (self.runs / "by_hand.jsonl").write_text("\n".join(lines) + "\n")

    def _environment(self) -> dict[str, str]:
        local = {**self.server.connection(), "extra": {"prices": PRICES}}
        return {
            "AIRFLOW_CONN_LOCAL_BATCH": json.dumps(local),
            "AIRFLOW_CONN_PORTKEY_BATCH": self.portkey.connection_json,
            "AIRFLOW_CONN_BEDROCK_BATCH": self.bedrock.connection_json,
            "AIRFLOW_CONN_RESULTS_DB": json.dumps({"conn_type": "sqlite", "host": f"{self.folder}/results.sqlite"}),
            "AIRFLOW_VAR_QUICKSTART_FOLDER": str(self.runs),
            "AIRFLOW_VAR_QUICKSTART_SOURCE": str(self.folder / "reviews.csv"),
            "AIRFLOW_VAR_REVIEWS_BY_DAY": str(self.folder / "reviews"),
        }


def reviews(rows: int, prefix: str = "") -> str:
    """A CSV file of reviews."""
    return "id,text\n" + "".join(f'{prefix}{number},"{SAID[number % len(SAID)]}"\n' for number in range(1, rows + 1))


def say(text: str) -> None:
    """One line with the time."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)
