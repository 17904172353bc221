"""From a connection's fields to a boto3 session; nothing here calls AWS before the session is first used."""

from __future__ import annotations

import functools
import importlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from airflow_batch_provider.backends.environment import making
from airflow_batch_provider.core.errors import ConfigurationError

Session: TypeAlias = Any
"""A ``boto3.Session``; boto3 is imported when one is made."""

ROLE_SESSION_NAME = "airflow-batch"


@dataclass(frozen=True, slots=True)
class AwsAccess:
    """Who calls AWS: own keys, else a profile, else an ``aws`` connection, else what boto3 finds by itself.

    :param conn_id: the connection that all this was read from, for messages.
    :param aws_conn_id: an Airflow connection of type ``aws``.
    :param assume_role_arn: a role that the one found so takes on.
    :param sts_url: another STS address.
    """

    conn_id: str
    region: str
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    session_token: str | None = field(default=None, repr=False)
    profile: str | None = None
    aws_conn_id: str | None = None
    assume_role_arn: str | None = None
    external_id: str | None = field(default=None, repr=False)
    sts_url: str | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """What half a key pair lacks."""
        if self.access_key and not self.secret_key:
            return ("the secret access key is missing; set it as the password, or clear the login",)
        if self.secret_key and not self.access_key:
            return ("the access key id is missing; set it as the login, or clear the password",)
        if self.session_token and not self.access_key:
            return ("session_token has no access key; set login and password, or remove it",)
        return ()


def session_factory(access: AwsAccess) -> Callable[[], Session]:
    """A function that gives the same session each time, made at the first call.

    :raises ConfigurationError: the function does, when no credentials are found.
    """
    lock = threading.Lock()

    @functools.cache
    def made() -> Session:
        need_package("boto3", "bedrock")
        with making(f"Connection {access.conn_id!r}: the boto3 session"):
            source = _source(access)
            return _assumed(access, source) if access.assume_role_arn else source

    def session() -> Session:
        with lock:
            return made()

    return session


def _source(access: AwsAccess) -> Session:
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        if access.access_key:
            session = _session(access, environment=False)
            session._session.set_credentials(access.access_key, access.secret_key, access.session_token)
            return session
        if access.profile:
            session = boto3.Session(profile_name=access.profile, region_name=access.region or None)
            _sign_by_key(session)
            return session
    except BotoCoreError as error:  # no such profile, an unreadable file
        raise ConfigurationError(f"Connection {access.conn_id!r}: {error}") from None
    if access.aws_conn_id:
        return _official(access)
    return boto3.Session(region_name=access.region or None)


def _session(access: AwsAccess, *, environment: bool) -> Session:
    """A session for credentials that come from the connection.

    :param environment: whether the worker's ``AWS_PROFILE`` and ``AWS_ENDPOINT_URL*`` count.
    """
    import boto3
    import botocore.session

    # Without this, an AWS_PROFILE that names no profile stops a client that has keys of its own.
    unset = None if environment else {"profile": (None, None, None, None)}
    session = boto3.Session(botocore_session=botocore.session.Session(unset), region_name=access.region or None)
    _sign_by_key(session, ignore_configured_endpoint_urls=None if environment else True)
    return session


def _sign_by_key(session: Session, **options: Any) -> None:
    """Otherwise an ``AWS_BEARER_TOKEN_BEDROCK`` of the worker's would be sent instead of the connection's keys."""
    from botocore.config import Config

    config = Config(auth_scheme_preference="sigv4", **{k: v for k, v in options.items() if v is not None})
    session._session.set_default_client_config(config)


def _official(access: AwsAccess) -> Session:
    """The session of an ``aws`` connection, as the amazon provider makes it."""
    try:
        from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise ConfigurationError(
            f"Connection {access.conn_id!r}: aws_conn_id needs the amazon provider; "
            "pip install apache-airflow-providers-amazon"
        ) from None
    from botocore.exceptions import BotoCoreError, ClientError

    check_other(access.conn_id, "aws_conn_id", str(access.aws_conn_id), "aws")
    try:
        hook = AwsBaseHook(aws_conn_id=access.aws_conn_id, region_name=access.region or None)
        session = hook.get_session(region_name=access.region or None)
    except (BotoCoreError, ClientError) as error:
        raise ConfigurationError(f"Connection {access.aws_conn_id!r}: {error}") from None
    _sign_by_key(session)
    return session


def _assumed(access: AwsAccess, source: Session) -> Session:
    """Another role's session. Its credentials are fetched at the first call and again before they end: a batch takes
    a day, a role's credentials an hour."""
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

    credentials = source.get_credentials()
    if credentials is None:
        raise ConfigurationError(
            f"Connection {access.conn_id!r}: there are no AWS credentials to assume {access.assume_role_arn} with; "
            "set login and password, profile or aws_conn_id, or run where boto3 finds some"
        )
    asked = {"RoleSessionName": ROLE_SESSION_NAME, "ExternalId": access.external_id}
    fetcher = AssumeRoleCredentialFetcher(
        functools.partial(source.client, region_name=access.region or None, endpoint_url=access.sts_url),
        credentials,
        access.assume_role_arn,
        extra_args={name: value for name, value in asked.items() if value},
    )
    session = _session(access, environment=not access.access_key)
    session._session._credentials = DeferredRefreshableCredentials(
        method="assume-role", refresh_using=fetcher.fetch_credentials
    )
    return session


def check_other(conn_id: str, name: str, other: str, wanted: str) -> None:
    """Make sure that another connection, which a field of ours names, is there and of the type it has to be.

    The official hooks take an unknown connection for an empty one, and would go on with the worker's own identity.

    :param name: the field.
    :param wanted: the type.
    :raises ConfigurationError: when it is not, naming the field.
    """
    from airflow.sdk import BaseHook

    try:
        kind = BaseHook.get_connection(other).conn_type
    except Exception as error:
        # Its class moved between Airflow 3.1 and 3.3.
        if type(error).__name__ != "AirflowNotFoundException":
            raise
        raise ConfigurationError(f"Connection {conn_id!r}: {name} {other!r}: there is no such connection") from None
    if kind != wanted:
        raise ConfigurationError(f"Connection {conn_id!r}: {name} {other!r} has type {kind!r}; it takes {wanted!r}")


def need_package(module: str, extra: str) -> None:
    """Say how to install a missing module.

    :raises ConfigurationError: when the module cannot be imported, naming the extra that brings it.
    """
    try:
        importlib.import_module(module)
    except ImportError:
        raise ConfigurationError(f"{module} is not installed; pip install 'airflow-batch-provider[{extra}]'") from None
