"""Run the quickstart once: real reviews, a real model behind a real batch API, real Airflow.

    python -m demo [--quick] [--keep] [--engine llama|echo] [--folder .demo]

``--quick`` runs the DAG by ``airflow dags test`` instead of Airflow's processes; ``--keep`` leaves Airflow up until
Ctrl-C. The environment variables QUICK and KEEP do the same, for the Makefile. Whatever was started is stopped at the
end, however it ends.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from airflow_batch_provider.testing.airflow_stack import AirflowStack, base_env, migrate, run_airflow
from airflow_batch_provider.testing.processes import StackError
from airflow_batch_provider.testing.server_process import ServerProcess
from demo.fetch import MODEL_DIR, REVIEWS
from demo.progress import Clock, Progress
from demo.report import report

DAG_ID = "quickstart"
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DAGS = Path(__file__).resolve().parent.parent / "dags"


class Demo:
    """One demonstration.

    :param folder: where Airflow's home, the runs and the results' database lie.
    :param engine: what answers.
    :param say: prints one line.
    """

    def __init__(self, folder: Path, engine: str, say: Clock) -> None:
        self.folder = folder
        self.home = folder / "airflow"
        self.runs = folder / "runs"
        self.database = folder / "results.sqlite"
        self.engine = engine
        self.say = say
        model = ["--model-path", str(MODEL_DIR.resolve())] if engine == "llama" else []
        self.server = ServerProcess(folder / "server", engine, *model)
        self.runs.mkdir(parents=True, exist_ok=True)

    def environment(self) -> dict[str, str]:
        """The connections and variables of the DAG, as a deployment would set them."""
        return {
            "AIRFLOW_CONN_LOCAL_BATCH": json.dumps(self.server.connection()),
            "AIRFLOW_CONN_RESULTS_DB": json.dumps({"conn_type": "sqlite", "host": str(self.database)}),
            "AIRFLOW_VAR_QUICKSTART_FOLDER": str(self.runs),
            "AIRFLOW_VAR_QUICKSTART_SOURCE": str(REVIEWS.resolve()),
        }

    def quick(self) -> int:
        """Run the DAG in one process.

        :return: the exit code.
        """
        environment = base_env(self.home, DAGS) | self.environment()
        self.home.mkdir(exist_ok=True)
        migrate(environment, self.home, self.say)
        if version("apache-airflow").startswith("3.1."):
            self.say("airflow dags reserialize")
            run_airflow(environment, "dags", "reserialize")  # Airflow 3.1 tests only what it has serialized
        known = set(self.runs.iterdir())
        self.say(f"airflow dags test {DAG_ID}")
        output = run_airflow(environment, "dags", "test", DAG_ID)
        (self.folder / "dags-test.log").write_text(output)
        new = [path for path in self.runs.iterdir() if path not in known]
        if len(new) != 1:
            raise StackError(f"the run left no folder in {self.runs}:\n{output[-3000:]}")
        return self.finish(new[0])

    def full(self, *, keep: bool) -> int:
        """Run the DAG with Airflow's four processes, triggered through the REST API.

        :param keep: leave Airflow up until Ctrl-C.
        :return: the exit code.
        """
        with AirflowStack(self.home, DAGS, self.environment(), self.say) as stack:
            self.say(f"Airflow is healthy at {stack.url}")
            run = stack.trigger(DAG_ID)
            self.say(f"triggered {run.dag_id}, run {run.run_id}")
            state = stack.wait(run, timeout=900, progress=Progress(stack, run, self.server, self.say))
            if state != "success":
                raise StackError(f"the DAG run ended as {state}; logs: {self.home / 'logs'}")
            code = self.finish(self.runs / run.run_id)
            page = f"{stack.url}/dags/{DAG_ID}/runs/{run.run_id}"
            if keep:
                print(f"Airflow's UI   {page}")
                print(f"               user {stack.user}, password {stack.password}; Ctrl-C stops it", flush=True)
                self._until_interrupted()
            else:
                print("Airflow's UI   make demo KEEP=1 leaves it up", flush=True)
            return code

    def finish(self, run_folder: Path) -> int:
        """Report on what the run has left.

        :return: the exit code.
        """
        return report(run_folder / "answers", self.database, REVIEWS, expect_json=self.engine == "llama")

    def _until_interrupted(self) -> None:
        try:
            signal.pause()
        except KeyboardInterrupt:
            self.say("stopping")


def main() -> int:
    """Run the demonstration.

    :return: the exit code.
    """
    options = _options()
    demo = Demo(options.folder.resolve(), options.engine, Clock())
    for number in STOPPING:
        signal.signal(number, _interrupt)
    try:
        demo.server.start()
        demo.say(f"batch server, engine {demo.engine}, at {demo.server.url}")
        return demo.quick() if options.quick else demo.full(keep=options.keep)
    except StackError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    finally:
        demo.server.stop()
        demo.say("all that was started is stopped")


def _interrupt(*_: Any) -> None:
    """End once and for all: a second Ctrl-C must not keep the rest from being stopped."""
    for each in STOPPING:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description="Run the quickstart once.")
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")))
    parser.add_argument("--keep", action="store_true", default=bool(os.environ.get("KEEP")))
    parser.add_argument("--engine", choices=["llama", "echo"], default="llama")
    parser.add_argument("--folder", type=Path, default=Path(".demo"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
