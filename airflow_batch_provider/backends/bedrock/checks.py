"""What Bedrock and S3 take as names, and what can be found wrong before anything is sent.

Patterns: botocore's model of Bedrock, 2023-04-20. botocore itself does not check them, the service does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.identity import safe_name
from airflow_batch_provider.core.records import Limits

JOB_NAME_LENGTH = 63
URI_LENGTH = 1024
S3_URI = re.compile(r"s3://[a-z0-9][-.a-z0-9]{1,61}[a-z0-9](?:/[-!_*'().a-z0-9A-Z]+(?:/[-!_*'().a-z0-9A-Z]+)*)?/?")
_BUCKET = re.compile(r"[a-z0-9][-.a-z0-9]{1,61}[a-z0-9]")
_NOT_IN_KEY = re.compile(r"[^-!_*'().a-z0-9A-Z]+")
_ROLE = re.compile(r"arn:aws(-[^:]+)?:iam::([0-9]{12})?:role/.+")
_KMS = re.compile(
    r"(arn:aws(-[^:]+)?:kms:[a-zA-Z0-9-]*:[0-9]{12}:)?((key/[a-zA-Z0-9-]{36})|(alias/[a-zA-Z0-9-_/]+))"
    r"|([a-zA-Z0-9-]{36})"
)
_OWNER = re.compile(r"[0-9]{12}")
_TAG = re.compile(r"[a-zA-Z0-9\s._:/=+@-]*")
_MAX_TAGS = 200
_PROFILES: dict[str, tuple[str, ...]] = {
    "us-gov": ("us-gov-",),
    "us": ("us-", "ca-", "mx-"),
    "eu": ("eu-", "il-", "me-"),
    "apac": ("ap-", "me-"),
    "jp": ("ap-northeast-",),
    "au": ("ap-southeast-",),
    "ca": ("ca-", "us-"),
}
"""From an inference profile's prefix to the regions that could call it; generous, the service knows better."""


def safe_key(text: str) -> str:
    """An object key, or part of one, that the S3 URI of a job can hold: no ``=``, ``:``, ``+``, space, empty part."""
    parts = (_NOT_IN_KEY.sub("-", part).strip("-") for part in text.split("/"))
    return "/".join(part for part in parts if part.strip("."))


def job_name(stem: str, token: str) -> str:
    """A readable name that holds the token and fits ``jobName``."""
    return f"{safe_name(stem, JOB_NAME_LENGTH - 1 - len(token))}-{token}"


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an ``s3://`` URI; the key is not percent-encoded."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def check_place(bucket: str, role_arn: str, output_uri: str, kms_key_id: str | None, owner: str | None) -> None:
    """Refuse names that Bedrock refuses.

    :raises ConfigurationError: naming the field and the remedy.
    """
    if not _BUCKET.fullmatch(bucket):
        raise ConfigurationError(f"bucket: {bucket!r} is not a bucket name; write the name alone, without s3://")
    if not role_arn:
        raise ConfigurationError(
            "role_arn is missing: Bedrock reads and writes the bucket as a service role; set role_arn to its ARN, "
            "arn:aws:iam::ACCOUNT:role/NAME"
        )
    if not _ROLE.fullmatch(role_arn):
        raise ConfigurationError(
            f"role_arn: {role_arn!r} is not the ARN of a role; write one such as arn:aws:iam::123456789012:role/NAME"
        )
    # What a job appends: its name and a slash.
    if not S3_URI.fullmatch(output_uri) or len(output_uri) + JOB_NAME_LENGTH + 1 > URI_LENGTH:
        raise ConfigurationError(
            f"output_uri: Bedrock does not take {output_uri!r}; it is s3://BUCKET/PREFIX/, at most "
            f"{URI_LENGTH - JOB_NAME_LENGTH - 1} characters, letters, digits and -!_*'(). only, so no '=', ':', '+', "
            "'%', space or double slash (a run_id holds some)"
        )
    if kms_key_id and not _KMS.fullmatch(kms_key_id):
        raise ConfigurationError(f"kms_key_id: {kms_key_id!r} is not the ARN, id or alias/NAME of a key")
    if owner and not _OWNER.fullmatch(owner):
        raise ConfigurationError(f"bucket_owner: {owner!r} is not an account id; write its 12 digits")


def check_hours(hours: int | None, limits: Limits) -> None:
    """Refuse a time that Bedrock gives no job.

    :raises ConfigurationError: naming the field.
    """
    least, most = limits.window_hours, limits.longest_hours or limits.window_hours
    if hours is not None and not least <= hours <= most:
        raise ConfigurationError(f"timeout_hours: Bedrock takes {least:g} to {most:g} hours, not {hours}")


def check_job(tags: Mapping[str, str], subnets: tuple[str, ...], groups: tuple[str, ...]) -> None:
    """Refuse what else a create would be refused for.

    :raises ConfigurationError: naming the field and the remedy.
    """
    if bool(subnets) != bool(groups) or len(subnets) > 16 or len(groups) > 5:
        raise ConfigurationError(
            "subnet_ids and security_group_ids: Bedrock takes both or none, at most 16 subnets and 5 groups"
        )
    if len(tags) >= _MAX_TAGS:
        raise ConfigurationError(f"tags: Bedrock takes at most {_MAX_TAGS}, one is ours")
    for key, value in tags.items():
        fits = isinstance(key, str) and isinstance(value, str) and 0 < len(key) <= 128 and len(value) <= 256
        if not fits or not _TAG.fullmatch(key) or not _TAG.fullmatch(value):
            raise ConfigurationError(
                f"tags {key!r}: keys have 1 to 128 characters and values are strings of at most 256, of letters, "
                "digits, white space and ._:/=+@-"
            )


def check_region(model: str, region: str) -> None:
    """Refuse a model whose ARN or inference profile belongs to another region, where that is certain.

    :raises ConfigurationError: naming both.
    """
    if model.startswith("arn:"):
        parts = model.split(":")
        home = parts[3] if len(parts) > 3 else ""
        if home and home != region:
            raise ConfigurationError(f"model {model!r} is in {home}, the connection's region is {region}")
        return
    prefix, dot, rest = model.partition(".")
    regions = _PROFILES.get(prefix) if dot and "." in rest else None
    if regions is None:
        return
    is_gov = region.startswith("us-gov-")
    if not region.startswith(regions) or is_gov != (prefix == "us-gov"):
        raise ConfigurationError(
            f"model {model!r} is an inference profile of {prefix}, which cannot be called from the connection's "
            f"region {region}; use the profile of that region, or global.{rest} where there is one"
        )
