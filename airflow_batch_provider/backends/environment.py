"""What clients take from a worker's environment: the way to the network, never who pays.

Proxies (``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``) and certificates (``SSL_CERT_FILE``) are taken,
since many workers reach nothing without them. Keys and addresses come from the connection alone. A variable that no
client can use is an error which names it; its value is not shown, since a proxy's address may hold a password.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from airflow_batch_provider.core.errors import BatchInferenceError, ConfigurationError

_PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE")
_CLOUDS = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
)


def unusable(what: str, error: BaseException) -> ConfigurationError:
    """The error of a client that could not be made; nothing was sent.

    :param what: the client, in words.
    """
    known = [*_PROXIES, *(name.lower() for name in _PROXIES), *_CERTIFICATES, *_CLOUDS]
    found = [name for name in known if os.environ.get(name)]
    missing = [name for name in (*_CERTIFICATES, "GOOGLE_APPLICATION_CREDENTIALS") if _is_missing(name)]
    named = ", ".join(missing or found) or "no known one is set"
    return ConfigurationError(
        f"{what} could not be created ({type(error).__name__}). Check these environment variables on the worker "
        f"and the "
        f"triggerer: {named}. A proxy is http://HOST:PORT (socks5:// needs the package socksio); certificates are the "
        "path of a file that exists"
    )


def _is_missing(name: str) -> bool:
    path = os.environ.get(name)
    return bool(path) and not os.path.exists(str(path))


@contextmanager
def making(what: str) -> Iterator[None]:
    """Whatever goes wrong inside, where a client is made, is an error of the environment.

    :raises ConfigurationError: naming the variables.
    """
    try:
        yield
    except BatchInferenceError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a library raises here, nothing was sent
        # Not chained: the libraries quote a proxy's address with its password.
        raise unusable(what, error) from None
