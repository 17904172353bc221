"""Fetching one image from an address that stood in somebody's data, which may mean no good.

Only http and https, only public addresses, unless the DAG's author names the host: whoever writes an address into a row
must not make a worker read a metadata service or an intranet. A name is resolved once, and what was checked is what is
connected to, so that no second answer of the name server changes it. Proxies and cookies are not used.
"""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urljoin, urlsplit

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.retry_after import retry_after
from airflow_batch_provider.images.bounded import bounded

if TYPE_CHECKING:
    import httpx

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_LONGEST_PAUSE = 30.0
_SIGNS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(one)
    for one in ("168.63.129.16/32", "64:ff9b:1::/48", "2001::/32", "fec0::/10", "192.88.99.0/24")
)
"""Beside what the standard's tables say: Azure's own host service, NAT64 of a site (RFC 8215), Teredo, which carries an
address inside, site-local addresses and the relay of 6to4, all of them given up."""


@dataclass(frozen=True, slots=True)
class ImagePolicy:
    """How images are fetched.

    :param max_image_bytes: of one image; Claude on Bedrock takes 3.75 MB, Anthropic's own API 5 MB.
    :param max_line_bytes: of one request with its images inside.
    :param timeout: seconds for one attempt, from the connection to the last byte.
    :param attempts: of each image, where another one can help: 429, 5xx, no answer.
    :param pause: seconds before the second attempt, doubled each time; ``Retry-After`` wins.
    :param at_once: images fetched at a time.
    :param private_hosts: hosts that may have addresses which are not public.
    """

    max_image_bytes: int = 3_750_000
    max_line_bytes: int = 20_000_000
    timeout: float = 30.0
    attempts: int = 3
    pause: float = 1.0
    at_once: int = 8
    private_hosts: Sequence[str] = ()

    @classmethod
    def of(cls, given: bool | Mapping[str, Any]) -> ImagePolicy | None:
        """From the operator's argument: False, True, or what shall be otherwise.

        :raises ConfigurationError: naming what is not known or makes no sense.
        """
        if isinstance(given, bool):
            return cls() if given else None
        known = {each.name for each in fields(cls)}
        if not isinstance(given, Mapping) or not set(given) <= known:
            raise ConfigurationError(
                f"download_images must be True, False, or an object with {', '.join(sorted(known))}"
            )
        policy = cls(**given)
        if isinstance(policy.private_hosts, str):
            raise ConfigurationError("download_images: private_hosts must be a list of host names")
        for name in known - {"private_hosts"}:
            value = getattr(policy, name)
            whole = isinstance(value, int) or name in ("timeout", "pause")
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not whole or value <= 0:
                raise ConfigurationError(f"download_images: {name} must be a number above 0, not {value!r}")
        return policy


class ImageError(Exception):
    """Why an image cannot be had, in words that show nothing of its address."""


class _AgainError(ImageError):
    """Another attempt may help."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def media_type(data: bytes) -> str | None:
    """What an image is by its first bytes; None where it is none that every provider takes."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for sign, kind in _SIGNS if data.startswith(sign)), None)


class ImageFetcher:
    """Fetches images; may be used by several threads.

    :param policy: what is allowed.
    """

    def __init__(self, policy: ImagePolicy) -> None:
        import httpx

        self._policy = policy
        # Every connection is checked, so none is kept for another name.
        limits = httpx.Limits(max_connections=policy.at_once, max_keepalive_connections=0)
        transport = httpx.HTTPTransport(trust_env=False, limits=limits)
        self._clock = threading.local()
        # A timeout of httpx begins anew with every byte: a server that drips them holds a thread without an end.
        transport._pool._network_backend = bounded(lambda: self._clock.deadline - time.monotonic())
        self._client = httpx.Client(trust_env=False, follow_redirects=False, transport=transport)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def fetch(self, url: str) -> bytes:
        """The image.

        :raises ImageError: after the last attempt.
        """
        for attempt in range(self._policy.attempts - 1):
            found = self._tried(url, attempt)
            if isinstance(found, bytes):
                return found
            pause = found.retry_after if found.retry_after is not None else self._policy.pause * 2.0**attempt
            time.sleep(min(pause, _LONGEST_PAUSE))
        try:
            return self._follow(url, self._policy.attempts - 1)
        except _AgainError as error:
            raise ImageError(f"{error}, after {self._policy.attempts} attempts") from None

    def _tried(self, url: str, attempt: int) -> bytes | _AgainError:
        try:
            return self._follow(url, attempt)
        except _AgainError as error:
            return error

    def _follow(self, url: str, attempt: int) -> bytes:
        deadline = time.monotonic() + self._policy.timeout
        self._clock.deadline = deadline
        for _ in range(_MAX_REDIRECTS + 1):
            answer = self._get(url, attempt, deadline)
            if isinstance(answer, bytes):
                return answer
            url = urljoin(url, answer)
        raise ImageError(f"it redirects more than {_MAX_REDIRECTS} times")

    def _get(self, url: str, attempt: int, deadline: float) -> bytes | str:
        """The image, or where it is instead."""
        import httpx

        parts = _split(url)
        host = str(parts.hostname)
        addresses = self._addresses(host, parts, deadline)
        address = addresses[attempt % len(addresses)]
        try:
            # httpx is given the address that was checked, and the name for the certificate and the Host header.
            request = self._client.build_request(
                "GET",
                httpx.URL(url).copy_with(host=address, fragment=None),
                headers={"host": parts.netloc, "accept": "image/*", "accept-encoding": "identity"},
                extensions={"sni_hostname": host},
                timeout=max(0.1, deadline - time.monotonic()),
            )
            response = self._client.send(request, stream=True)
            try:
                return self._read(response, deadline)
            finally:
                response.close()
        except httpx.InvalidURL:
            raise ImageError("it is not a URL") from None
        except httpx.HTTPError as error:
            if time.monotonic() >= deadline:
                raise _AgainError(f"it took longer than {self._policy.timeout:g} s") from None
            raise _AgainError(f"it could not be read ({type(error).__name__})") from None

    def _read(self, response: httpx.Response, deadline: float) -> bytes | str:
        if response.status_code in _REDIRECTS and response.headers.get("location"):
            return str(response.headers["location"])
        if response.status_code in _AGAIN:
            raise _AgainError(f"its server returned {response.status_code}", retry_after(response.headers))
        if response.status_code != 200:
            raise ImageError(f"its server returned {response.status_code}")
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind and not kind.startswith("image/") and kind not in ("application/octet-stream", "binary/octet-stream"):
            raise ImageError(f"it is {kind[:60]}, not an image")
        most, data = self._policy.max_image_bytes, bytearray()
        for chunk in response.iter_raw():
            data += chunk
            if len(data) > most:
                raise ImageError(f"it has more than {most:,} bytes; make it smaller")
            if time.monotonic() > deadline:
                raise _AgainError(f"it took longer than {self._policy.timeout:g} s")
        length = response.headers.get("content-length")
        if length is not None and length.isdecimal() and int(length) != len(data):
            raise _AgainError("the download broke off")
        if media_type(bytes(data[:16])) is None:
            raise ImageError("it is not png, jpeg, gif or webp")
        return bytes(data)

    def _addresses(self, host: str, parts: SplitResult, deadline: float) -> list[str]:
        """Where the host is; the older kind of address first, which works from everywhere."""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            found = _resolved(host, port, deadline)
        except (OSError, UnicodeError):
            raise _AgainError("its host cannot be found") from None
        if found is None:
            raise _AgainError(f"its host was not found within {self._policy.timeout:g} s")
        addresses = sorted({str(entry[4][0]) for entry in found}, key=lambda address: (":" in address, address))
        if host.lower() not in {name.lower() for name in self._policy.private_hosts}:
            for address in addresses:
                if not is_public(address):
                    raise ImageError(
                        "its host has an address that is not public; name it in private_hosts if it is yours"
                    )
        return addresses


def _resolved(host: str, port: int, deadline: float) -> list[Any] | None:
    """What the system's resolver finds; None where it takes longer, for it has no time limit of its own.

    The thread that waits for it ends with the process at the latest.
    """
    answers: queue.SimpleQueue[list[Any] | Exception] = queue.SimpleQueue()

    def resolve() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            answers.put(error)

    threading.Thread(target=resolve, name="image-host", daemon=True).start()
    try:
        found = answers.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        return None
    if isinstance(found, Exception):
        raise found
    return found


def is_public(address: str) -> bool:
    """Whether everybody can reach an address; one that carries an older one inside is what that is."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _NOT_PUBLIC)


def shown(url: str) -> str:
    """An address for messages: without the query, which may be a signature, and short."""
    return url.split("?", maxsplit=1)[0].split("#", maxsplit=1)[0].rpartition("@")[2][:200]


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ImageError("it is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ImageError("it is not an http or https URL")
    if "@" in parts.netloc:
        raise ImageError("its address contains a user name or password")
    return parts
