"""Take the pictures of ``docs/images``: a real Airflow runs the example DAGs, and Chromium looks at its pages.

    make screenshots          # or: python docs/screenshots.py [name ...]

Everything runs on loopback and is stopped at the end, however it ends. What answers is our own batch server and fakes
of the providers; no key, no account, no money. Chromium comes from the system, ``playwright`` and ``pillow`` from
``requirements/screenshots.in``, installed beside the environment, as Airflow's pins are none of theirs.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import signal
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT), str(ROOT / ".cache" / "screenshots")]

from scene import ASKED, DAYS, PRICES, Scene, say  # noqa: E402

from airflow_batch_provider.get_provider_info import get_provider_info  # noqa: E402
from airflow_batch_provider.testing.airflow_stack import AirflowStack, Run, run_airflow  # noqa: E402
from airflow_batch_provider.testing.processes import until  # noqa: E402

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDTH, HEIGHT = 1280, 660


class Camera:
    """Headless Chromium on Airflow's pages.

    :param airflow: whose.
    :param out: where the pictures go.
    """

    def __init__(self, airflow: AirflowStack, out: Path) -> None:
        self.airflow, self.out = airflow, out
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Camera:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - main() says so when it is missing

        with contextlib.ExitStack() as opened:
            playwright = opened.enter_context(sync_playwright())
            browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
            opened.callback(browser.close)
            self.page: Any = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, timezone_id="UTC")
            self.page.set_default_timeout(30_000)
            self._log_in()
            self._open = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._open.close()

    def _log_in(self) -> None:
        self.page.goto(f"{self.airflow.url}/")
        self.page.locator("input[name=username]").fill(self.airflow.user)
        self.page.locator("input[name=password]").fill(self.airflow.password)
        self.page.locator("button[type=submit]").click()
        self.page.get_by_role("link", name="Dags").first.wait_for()

    def go(self, path: str) -> None:
        """Open a page and wait until it is still."""
        self.page.goto(f"{self.airflow.url}{path}")
        self.still()

    def still(self) -> None:
        """Wait until the page has what it shows."""
        self.page.wait_for_load_state("networkidle")
        self.page.wait_for_timeout(700)

    def task(self, run: Run, task_id: str, text: str = "") -> None:
        """Open a task's log and wait for a text in it."""
        self.tab(run, task_id, "", text)

    def tab(self, run: Run, task_id: str, tab: str, text: str) -> None:
        """Open one of a task's pages and wait for a text in it."""
        self.go(f"/dags/{run.dag_id}/runs/{run.run_id}/tasks/{task_id}/{tab}".rstrip("/"))
        if text:
            self.page.get_by_text(text).first.wait_for()
        self.page.wait_for_timeout(3000)  # the grid beside it

    def failure(self, run: Run, task_id: str, text: str) -> None:
        """Open a failed task's log, its traceback folded."""
        self.task(run, task_id, text)
        self.page.get_by_text(text).first.click()
        self.page.evaluate("document.querySelectorAll('*').forEach(one => one.scrollTo(0, 0))")
        self.still()

    def grid(self, dag_id: str) -> None:
        """Open a DAG's page with room for its grid."""
        self.go(f"/dags/{dag_id}")
        handle = self.page.locator("[data-panel-resize-handle-id], [role=separator][tabindex]").first.bounding_box()
        self.page.mouse.move(handle["x"] + handle["width"] / 2, 250)
        self.page.mouse.down()
        self.page.mouse.move(WIDTH * 0.48, 250, steps=8)
        self.page.mouse.up()
        self.page.mouse.move(WIDTH - 20, HEIGHT - 20)
        self.page.wait_for_timeout(3000)

    def connection_form(self, kind: str) -> Any:
        """The form for a new connection of one kind."""
        self.go("/connections")
        self.page.get_by_role("button", name="Add Connection").click()
        dialog = self.page.locator("[role=dialog]:visible").first
        dialog.get_by_role("combobox").first.fill(kind)
        self.page.wait_for_timeout(300)
        self.page.keyboard.press("Enter")
        dialog.get_by_role("button", name="Standard Fields").wait_for()
        self.still()
        return dialog

    def shot(self, name: str, of: Any = None, **options: Any) -> None:
        """Write ``name.png``.

        :param of: a locator; the whole window by default.
        """
        path = self.out / f"{name}.png"
        (of or self.page).screenshot(path=str(path), animations="disabled", **options)
        shrink(path)
        say(f"{name}.png  {path.stat().st_size / 1000:.0f} kB")


def chromium() -> str:
    """The system's Chromium."""
    for name in CHROMIUM:
        if found := shutil.which(name):
            return found
    raise SystemExit("Chromium is missing. On Debian or Ubuntu: apt-get install chromium")


def shrink(path: Path) -> None:
    """Give a picture a palette of its commonest colours, which are those of a page, and so a third of its size."""
    from PIL import Image  # noqa: PLC0415

    with Image.open(path) as picture:
        plain = picture.convert("RGB")
    common: dict[tuple[int, ...], tuple[int, ...]] = {}
    for _, colour in sorted(plain.getcolors(1 << 24), reverse=True):
        common.setdefault(tuple(part >> 3 for part in colour), colour)  # of colours that look alike the commonest
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour in [*common.values()][:256] for part in colour])
    plain.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)


def connection_forms(camera: Camera, _: Scene) -> None:
    """The forms of all connection types: the fields that stand open, and those of "Extra Fields"."""
    page = camera.page
    page.set_viewport_size({"width": WIDTH, "height": 1800})
    for row in get_provider_info()["connection-types"]:
        dialog = camera.connection_form(row["hook-name"])
        name = f"connection-{row['connection-type']}"
        camera.shot(name, dialog)
        if row["connection-type"] == "openai_batch":
            dialog.get_by_role("button", name="Models, prices, limits", exact=True).click()
        else:
            dialog.get_by_role("button", name="Extra Fields", exact=True).click()
        camera.still()
        camera.shot(f"{name}-extra", dialog)
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})


def newcomer(camera: Camera, scene: Scene) -> None:
    """A connection by the form, a run by the trigger form, the log while it waits and at its end; with the time."""
    begun = time.monotonic()

    def step(text: str) -> None:
        say(f"newcomer, {time.monotonic() - begun:5.1f} s: {text}")

    _connect(camera, scene)
    step("the connection is saved")
    _trigger(camera)
    step("the run is triggered")
    run = until(lambda: newest(scene.airflow, "quickstart"), 30, "the run that the form has triggered")
    scene.airflow.wait_for_task(run, "answer", ["deferred"])
    step("the batch is created, the task waits")
    lines = camera.page.get_by_text("requests done")
    camera.task(run, "answer")
    until(lambda: lines.count() >= 2 or camera.page.wait_for_timeout(1000), 60, "two lines of progress")
    camera.shot("log-waiting")
    step("the log tells the progress")
    assert scene.airflow.wait(run) == "success", "the newcomer's run has failed"
    step("the run has succeeded")
    for name, task_id, tab, text in (
        ("log-end", "answer", "", "all in "),
        ("log-validate", "validate", "", "likely tokens"),
        ("log-load", "load", "", "Loaded "),
        ("rendered-templates", "answer", "rendered_templates", "echo"),
        ("xcom", "answer", "xcom", "cost_usd"),
    ):
        camera.page.set_viewport_size({"width": WIDTH, "height": 1350 if tab == "xcom" else HEIGHT})
        camera.tab(run, task_id, tab, text)
        camera.shot(name)
    camera.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})


def _connect(camera: Camera, scene: Scene) -> None:
    """Make a connection by the form, prices included."""
    page, server = camera.page, scene.server.connection()
    page.set_viewport_size({"width": WIDTH, "height": 1800})
    dialog = camera.connection_form("LLM batch: local server")
    dialog.locator("input[name=connection_id]").fill("my_server")
    dialog.locator("input[name=host]").fill(server["host"])
    dialog.locator("input[name=password]").fill(server["password"])
    camera.shot("newcomer-connection", dialog)
    dialog.get_by_role("button", name="Models, prices, limits", exact=True).click()
    camera.still()
    dialog.locator(".monaco-editor").nth(1).click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(json.dumps(PRICES))
    page.keyboard.press("Control+Shift+End")  # the editor closes brackets that are closed already
    page.keyboard.press("Delete")
    camera.still()
    dialog.get_by_role("button", name="Save").click()
    page.get_by_text("my_server").first.wait_for()
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})


def _trigger(camera: Camera) -> None:
    """Start the quickstart by the trigger form, on the connection that was made."""
    page = camera.page
    page.set_viewport_size({"width": WIDTH, "height": 1000})
    camera.go("/dags/quickstart")
    page.get_by_role("button", name="Trigger").first.click()
    dialog = page.locator("[role=dialog]:visible").first
    dialog.locator("input[name=element_model]").fill("echo")
    dialog.locator("input[name=element_rows]").fill(str(ASKED))
    dialog.locator("input[name=element_conn_id]").fill("my_server")
    camera.still()
    camera.shot("trigger-form", dialog)
    dialog.get_by_role("button", name="Trigger", exact=True).click()
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})


def backfill(camera: Camera, scene: Scene) -> None:
    """The grid of a data set by day."""
    days = "--from-date", "2026-01-01", "--to-date", f"2026-01-{DAYS:02d}"
    run_airflow(scene.airflow.env, "backfill", "create", "--dag-id", "backfill_reviews", *days)
    wait_for_all(scene.airflow, "backfill_reviews", DAYS)
    camera.grid("backfill_reviews")
    camera.shot("grid-backfill")


def models(camera: Camera, scene: Scene) -> None:
    """Two connections side by side; the link to the provider's page of a job; a run whose rows failed."""
    airflow, bedrock = scene.airflow, scene.bedrock
    sides = {"conn_id": "local_batch", "conn_id_b": "bedrock_batch", "model_b": bedrock.model, "rows": 100}
    good = airflow.trigger("compare_models", sides)
    failed = airflow.trigger("compare_models", {**sides, "conn_id": "portkey_batch", "model": "m"})
    assert airflow.wait(good) == "success", "the comparison has failed"
    assert airflow.wait(failed) == "failed", "rows were planned to fail, and the run did not"
    camera.tab(good, "answer_b", "details", "Batch console")
    link = camera.page.locator("a", has_text="Batch console")
    say(f"the link leads to {link.get_attribute('href')}")
    camera.shot("link")
    camera.failure(failed, "answer_a", "did not succeed")
    camera.shot("log-failed-rows")
    camera.grid("compare_models")
    camera.shot("grid-compare")


def bad_lines(camera: Camera, scene: Scene) -> None:
    """What a task says of a file that no provider would take."""
    run = scene.airflow.trigger("bad_lines")
    assert scene.airflow.wait(run) == "failed", "the bad file was taken"
    camera.failure(run, "answer", "nothing was sent")
    camera.shot("log-bad-lines")


def assets(camera: Camera, scene: Scene) -> None:
    """The asset that joins two DAGs."""
    assert scene.airflow.wait(scene.airflow.trigger("submit_here")) == "success", "submit_here has failed"
    wait_for_all(scene.airflow, "fetch_there", 1)
    camera.go("/assets/1")
    camera.page.get_by_text("submit_here").first.wait_for()
    camera.page.wait_for_timeout(3000)
    camera.shot("asset")


SERIES = (connection_forms, newcomer, backfill, models, bad_lines, assets)


def newest(airflow: AirflowStack, dag_id: str) -> Run | None:
    """The run that was triggered last by hand."""
    runs = airflow.call("GET", f"/dags/{dag_id}/dagRuns", order_by="-run_after", limit=10)["dag_runs"]
    return next((Run(dag_id, run["dag_run_id"]) for run in runs if run["run_type"] == "manual"), None)


def wait_for_all(airflow: AirflowStack, dag_id: str, count: int) -> None:
    """Wait until so many runs have succeeded."""

    def succeeded() -> bool:
        airflow.processes.check()
        runs = airflow.call("GET", f"/dags/{dag_id}/dagRuns", limit=100)["dag_runs"]
        return sum(run["state"] == "success" for run in runs) >= count

    until(succeeded, 300, f"{count} runs of {dag_id} to succeed", pause=1)


def main() -> None:
    """Take the series that are named on the command line, or all."""
    known = {series.__name__: series for series in SERIES}
    if unknown := set(sys.argv[1:]) - set(known):
        raise SystemExit(f"There is no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    chromium()
    if importlib.util.find_spec("playwright") is None or importlib.util.find_spec("PIL") is None:
        raise SystemExit("playwright and pillow are missing; `make screenshots` installs them beside the environment")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    out = ROOT / "docs" / "images"
    out.mkdir(exist_ok=True)
    with Scene() as scene, Camera(scene.airflow, out) as camera:
        for name in sys.argv[1:] or known:
            say(name)
            known[name](camera, scene)
    say("all that was started is stopped")


if __name__ == "__main__":
    main()
