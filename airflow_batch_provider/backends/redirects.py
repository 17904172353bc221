"""Answers that point to another address: keys never go there.

Clients drop ``Authorization`` at another host and keep every other header, such as ``api-key``, ``x-portkey-api-key``
or ``x-portkey-aws-secret-access-key``. So no client of ours follows a redirect. The one exception is the content of a
file, which some providers and gateways keep in a bucket: they answer with a presigned address, which takes no key, and
it is read by a client that has none.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from airflow_batch_provider.backends.environment import making
from airflow_batch_provider.backends.resuming import Head, head_of
from airflow_batch_provider.core.errors import BatchInferenceError, ConfigurationError, NotFoundError, ProviderError

if TYPE_CHECKING:
    import requests

REDIRECTS = frozenset({301, 302, 303, 307, 308})
"""RFC 9110, 15.4: the answers whose ``Location`` a client would go to by itself."""
_OF_S3 = frozenset({301, 302, 307})
MOST_HOPS = 5
_SECONDS = 60.0


def refused(call: str, status: int, url: str, location: str) -> BatchInferenceError:
    """The error of a redirect that is not followed.

    :param url: what was called.
    :param location: where the answer points to.
    """
    target = urljoin(url, location)
    text = (
        f"{call}: HTTP {status}: {_shown(url)} redirects to {_shown(target)}. The redirect was not followed, because "
        "the call carries the connection's keys. If the new address is right, set it as the connection's host; if not, "
        "a proxy or sign-in page answers in place of the provider"
    )
    if status == 303:
        # RFC 9110, 15.4.4: the call was carried out, and the answer to it is elsewhere.
        return ProviderError(text, status=status)
    return ConfigurationError(text)


def read_elsewhere(call: str, url: str, location: str, headers: Mapping[str, str]) -> Iterator[Head | bytes]:
    """A file's content where a redirect says it is, requested without any header of the connection: the head of the
    answer, then its bytes.

    :param url: what was called.
    :param headers: what to send; never a key. ``Range``, say.
    :raises ConfigurationError: for a target that is not https, another redirect of the same host, or too many of them.
    """
    import httpx

    start = url
    try:
        with making("The HTTP client"):
            made = httpx.Client(follow_redirects=False, timeout=_SECONDS)
        with made as client:
            for _ in range(MOST_HOPS):
                url, location = urljoin(url, location), ""
                _check_target(call, start, url)
                with client.stream("GET", url, headers=dict(headers)) as response:
                    if response.status_code in REDIRECTS and response.headers.get("location"):
                        location = response.headers["location"]
                        continue
                    is_end = response.status_code == 416 and "Range" in headers
                    if not response.is_success and not is_end:
                        raise _unread(call, url, response.status_code)
                    yield head_of(response.status_code, response.headers)
                    if not is_end:
                        yield from response.iter_bytes()
                    return
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ProviderError(f"{call}: the answer from {_shown(url)} broke off ({error})", ambiguous=False) from error
    raise ConfigurationError(f"{call}: more than {MOST_HOPS} redirects, the last one to {_shown(url)}")


def guard(session: requests.Session) -> None:
    """Make a ``requests`` session refuse every redirect."""

    def refuse(response: Any, *_: Any, **__: Any) -> None:
        location = response.headers.get("location")
        if response.status_code in REDIRECTS and location:
            method = response.request.method
            raise refused(f"{method} {urlsplit(response.url).path}", response.status_code, response.url, location)

    session.hooks["response"].append(refuse)


def guard_aws(client: Any) -> None:
    """Make a boto3 client report a redirect as what it is.

    botocore goes to no ``Location``; S3's own redirects it signs anew for the region that S3 names. Of an S3 that names
    none it asks HeadBucket, and of an answer like that to HeadBucket again, without an end.
    """
    service = client.meta.service_model.service_name

    def refuse(response: Any = None, operation: Any = None, **_: Any) -> None:
        http = response[0] if response else None
        if http is None or http.status_code not in REDIRECTS or http.headers.get("x-amz-bucket-region"):
            return
        if service == "s3" and operation.name != "HeadBucket" and http.status_code in _OF_S3:
            return
        raise refused(operation.name, http.status_code, http.url, http.headers.get("location") or "no address")

    client.meta.events.register_first(f"needs-retry.{service}", refuse)


def _check_target(call: str, start: str, url: str) -> None:
    parts = urlsplit(url)
    if _origin(url) == _origin(start):
        raise ConfigurationError(
            f"{call}: {_shown(start)} redirects to {_shown(url)} on the same host. Set the connection's host to the "
            "address that answers by itself"
        )
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and _is_loopback(parts.hostname) and _is_loopback(urlsplit(start).hostname):
        return
    raise ConfigurationError(f"{call}: {_shown(start)} redirects to {_shown(url)}, which is not an https address")


def _unread(call: str, url: str, status: int) -> BatchInferenceError:
    """No key was sent, so a refusal says that the address has expired; the next call is given a new one."""
    text = f"{call}: HTTP {status} from {_shown(url)}, where the provider keeps the file"
    return NotFoundError(text) if status == 404 else ProviderError(text, ambiguous=False, status=status)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _shown(url: str) -> str:
    """Scheme, host and path: a query may be a signature, and a user name a key."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:200]
