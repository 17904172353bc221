"""Where Vertex AI's jobs run, what they are called, and what can be found wrong before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_batch_provider.backends.vertex.jobs import TOKEN_LABEL
from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.identity import safe_name
from airflow_batch_provider.core.records import JSON, Shard
from airflow_batch_provider.dialects.facts import ModelFacts
from airflow_batch_provider.dialects.families import Family, vertex_family
from airflow_batch_provider.dialects.vertex_names import read_vertex_name

GLOBAL = "global"
_BUCKET = re.compile(r"[a-z0-9][-_.a-z0-9]{1,220}[a-z0-9]")
_REGION = re.compile(r"[a-z]+(-[a-z]+\d+)?")
_LABEL = re.compile(r"[\w-]{1,63}")
_NOT_IN_NAME = re.compile(r"[^-_.a-zA-Z0-9]+")
_CONTINENTS = {"US": ("us-",), "EU": ("europe-",), "ASIA": ("asia-",)}
"""The regions that a multi-region bucket serves."""


@dataclass(frozen=True)
class VertexPlace:
    """Where jobs run and what they are given.

    :param region: e.g. ``us-central1``, or ``global``.
    :param prefix: of every object's name.
    :param output_prefix: a ``gs://`` prefix for output; below bucket and prefix where it is None.
    :param labels: of every job.
    :param families: from a model to its family's name, where the table does not know it.
    :param model_facts: from a model or a pattern to the facts that differ from the tables'.
    :param row_labels: whether Gemini's rows carry their id as a label, too, which billing exports list.
    :param max_rows: the most requests in a job; ``max_bytes`` likewise.
    :param missing: fields of the connection that are missing, as sentences with their remedy.
    """

    project: str
    region: str
    bucket: str
    prefix: str = ""
    output_prefix: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    families: Mapping[str, str] = field(default_factory=dict)
    model_facts: ModelFacts = field(default_factory=dict)
    row_labels: bool = True
    max_rows: int | None = None
    max_bytes: int | None = None
    missing: tuple[str, ...] = ()

    def family(self, model: str) -> Family:
        """The model's family and facts.

        :raises ConfigurationError: when it is not known how its lines are written.
        """
        return vertex_family(model, self.families, self.model_facts)

    @property
    def parent(self) -> str:
        """The resource that jobs belong to."""
        return f"projects/{self.project}/locations/{self.region}"

    @property
    def home(self) -> str:
        """Where uploads go, with a slash at its end."""
        return f"gs://{self.bucket}/{_folder(self.prefix)}"

    def output(self, options: Mapping[str, Any]) -> str:
        """Where output goes, with a slash at its end."""
        prefix = options.get("output_prefix") or self.output_prefix
        return f"{str(prefix).rstrip('/')}/" if prefix else f"{self.home}output/"


def _folder(prefix: str) -> str:
    parts = (_NOT_IN_NAME.sub("-", part).strip("-") for part in prefix.split("/"))
    return "".join(f"{part}/" for part in parts if part.strip("."))


def object_name(stem: str, token: str) -> str:
    """A readable name that the token makes unique."""
    return f"{safe_name(stem.removesuffix('.jsonl'), 60)}-{token}"


def model_resource(model: str, family: Family) -> str:
    """A model as a job names it: ``publishers/P/models/M``, or the resource name that the author gave."""
    name = read_vertex_name(model)
    return name.resource or f"publishers/{name.publisher or family.publisher}/models/{name.bare}"


def create_call(place: VertexPlace, shard: Shard, token: str, input_id: str, options: Mapping[str, Any]) -> JSON:
    """A BatchPredictionJob as REST takes it.

    The output prefix is the create's own: two jobs that begin in one instant with one prefix overwrite each other.
    """
    model = str(shard.model or "")
    name = object_name(str(options.get("job_name") or shard.name), token)
    labels = {**place.labels, **(options.get("labels") or {}), TOKEN_LABEL: token.lower()}
    return {
        "displayName": name,
        "model": model_resource(model, place.family(model)),
        "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": [input_id]}},
        "outputConfig": {
            "predictionsFormat": "jsonl",
            "gcsDestination": {"outputUriPrefix": f"{place.output(options)}{name}/"},
        },
        "labels": labels,
    }


def check_values(place: VertexPlace, options: Mapping[str, Any]) -> None:
    """Refuse names and labels that Google does not take.

    :raises ConfigurationError: naming the field and the remedy.
    """
    if not _REGION.fullmatch(place.region):
        raise ConfigurationError(
            f"region {place.region!r} is not the name of a region; write one such as us-central1 (without a "
            f"zone), or global"
        )
    if not _BUCKET.fullmatch(place.bucket):
        raise ConfigurationError(f"bucket {place.bucket!r} is not a bucket name; write it without gs://")
    output = place.output(options)
    if not re.match(r"gs://[a-z0-9][-_.a-z0-9]+[a-z0-9]/", output):
        raise ConfigurationError(f"output_prefix {output!r} is not a gs:// URI; write gs://bucket/folder")
    _check_labels({**place.labels, **(options.get("labels") or {})})


def _check_labels(labels: Mapping[Any, Any]) -> None:
    """Google Cloud, "Labels": at most 64, lower case, letters, digits, ``_`` and ``-``, at most 63 characters."""
    if len(labels) >= 64:
        raise ConfigurationError(f"labels: Google takes at most 64, ours included; there are {len(labels) + 1}")
    for name, value in labels.items():
        for what, text in (("name", name), ("value", value)):
            good = (
                isinstance(text, str)
                and text == text.lower()
                and (_LABEL.fullmatch(text) or (what, text) == ("value", ""))
            )
            if not good or (what == "name" and not text[0].isalpha()):
                raise ConfigurationError(
                    f"labels: {text!r} is not a valid label {what}: use at most 63 lower-case letters, digits, _ and -"
                )
        if name == TOKEN_LABEL:
            raise ConfigurationError(f"labels: {TOKEN_LABEL} is how a lost job is found again; choose another name")


def check_model(place: VertexPlace, model: str) -> None:
    """Refuse an unknown model, and those that have no batches on the global endpoint (Google, "Global
    endpoint": tuned, Claude and open models)."""
    family = place.family(model)
    tuned = not read_vertex_name(model).bare
    if place.region == GLOBAL and (tuned or family.publisher != "google"):
        raise ConfigurationError(
            f"region: model {model!r} takes no batches on the global endpoint; set a region such as us-east5"
        )


def serves(location: str, region: str) -> bool:
    """Whether a bucket of this location serves jobs of this region."""
    location = location.upper()
    if region == GLOBAL or location == region.upper() or not location:
        return True
    if location in _CONTINENTS:
        return region.startswith(_CONTINENTS[location])
    # Dual regions have names of their own, such as NAM4; Google knows which regions they are.
    return "-" not in location
