"""How images are fetched, and from where they are not."""

from __future__ import annotations

import contextlib
import datetime
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from airflow_batch_provider.images.fetch import ImageError, ImageFetcher, ImagePolicy, is_public
from airflow_batch_provider.operators.errors import AirflowFailException
from tests.airflow.image_server import OPTIONS, PNG, Images, data_url, operator, prepared


@pytest.fixture
def images() -> Iterator[Images]:
    with Images() as running:
        yield running


# ---- how it is fetched -----------------------------------------------------------------------------------------------


def test_what_may_help_is_tried_again(images: Images, tmp_path: Path) -> None:
    """429 and 5xx are asked again, after as long as the server says; a redirect is followed."""
    urls = [
        images.tell("/a", (429, {"retry-after": "1"}), PNG),
        images.tell("/b", 500, 502, PNG),
        images.tell("/c", (301, {"location": "/a"})),
        images.tell("/d", (307, {"location": "b"})),
    ]
    began = time.monotonic()
    assert prepared(operator(tmp_path, urls[:2])) == [data_url("png", PNG)] * 2
    assert 0.95 < time.monotonic() - began < 15
    assert prepared(operator(tmp_path, urls[2:])) == [data_url("png", PNG)] * 2


def test_no_more_at_once_than_allowed(images: Images, tmp_path: Path) -> None:
    """Several images at a time, in the order of the rows, and never more than ``at_once``."""

    def slowly(call: BaseHTTPRequestHandler) -> None:
        time.sleep(0.03)
        call.send_response(200)
        call.end_headers()
        call.wfile.write(PNG + call.path.encode())

    images.answers = {f"/{n}": slowly for n in range(30)}
    task = operator(tmp_path, [f"{images.origin}/{n}" for n in range(30)], download_images={**OPTIONS, "at_once": 3})
    assert prepared(task) == [data_url("png", PNG + f"/{n}".encode()) for n in range(30)]
    assert images.most_at_once == 3


def test_a_slow_server_is_not_waited_for(images: Images, tmp_path: Path) -> None:
    """The timeout is for the whole image: one that drips for ever is given up."""

    def drip(call: BaseHTTPRequestHandler) -> None:
        call.send_response(200)
        call.end_headers()
        for _ in range(100):
            call.wfile.write(PNG)
            time.sleep(0.05)

    images.answers = {"/slow": drip}
    began = time.monotonic()
    task = operator(tmp_path, [f"{images.origin}/slow"], download_images={**OPTIONS, "timeout": 0.3, "attempts": 2})
    with pytest.raises(AirflowFailException, match=r"took longer than 0\.3 s, after 2 attempts"):
        prepared(task)
    assert time.monotonic() - began < 4.5  # read to the end, both attempts would take ten


def test_an_image_that_breaks_off_is_not_believed(images: Images, tmp_path: Path) -> None:
    """Fewer bytes than were announced are fetched again."""
    turns = [_cut, _whole]

    def turn(call: BaseHTTPRequestHandler) -> None:
        turns.pop(0)(call)

    images.answers = {"/a": turn}
    assert prepared(operator(tmp_path, [f"{images.origin}/a"])) == [data_url("png", PNG)]
    assert images.paths() == ["/a", "/a"]


def _cut(call: BaseHTTPRequestHandler) -> None:
    call.send_response(200)
    call.send_header("content-length", str(len(PNG)))
    call.end_headers()
    call.wfile.write(PNG[:100])
    call.close_connection = True


def _whole(call: BaseHTTPRequestHandler) -> None:
    call.send_response(200)
    call.send_header("content-length", str(len(PNG)))
    call.end_headers()
    call.wfile.write(PNG)


# ---- where it may be fetched from ------------------------------------------------------------------------------------


def test_private_addresses_are_refused_unless_named(images: Images, tmp_path: Path) -> None:
    """By default no row makes a worker call a host of its own network; the host never hears of it."""
    task = operator(tmp_path, [images.tell("/a", PNG)], download_images=True)
    with pytest.raises(AirflowFailException, match="not public; name it in private_hosts if it is yours"):
        prepared(task)
    assert not images.asked


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:a00:1::",
    ],
)
def test_what_is_not_public(address: str) -> None:
    """Loopback, private, link-local, shared and multicast addresses, also inside of newer ones."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::808:808"])
def test_what_is_public(address: str) -> None:
    """What everybody can reach."""
    assert is_public(address)


def test_what_was_checked_is_what_is_connected_to(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is looked up once an attempt, and its server is told the name: no second answer slips in between."""
    looked: list[str] = []

    def look(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        looked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    images.tell("/a", PNG)
    fetcher = ImageFetcher(ImagePolicy(private_hosts=["Images.Test"]))
    with monkeypatch.context() as patched:
        patched.setattr("airflow_batch_provider.images.fetch.socket.getaddrinfo", look)
        patched.setattr(socket, "gethostbyname", None)
        # httpcore connects by socket.create_connection, which looks up again: only an address is asked for then.
        assert fetcher.fetch(f"http://images.test:{images.port}/a") == PNG
    fetcher.close()
    assert looked[0] == "images.test"
    assert set(looked[1:]) <= {"127.0.0.1"}
    assert images.asked == [("/a", f"images.test:{images.port}")]


def test_https_is_checked_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate must be the name's, not the address's, and must be trusted."""
    pem = tmp_path / "server.pem"
    _certificate(pem, "images.test")
    real = socket.getaddrinfo
    names = {"images.test": "127.0.0.1", "other.test": "127.0.0.1"}
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: real(names.get(host, host), *rest, **more))
    policy = ImagePolicy(private_hosts=list(names), attempts=1)
    with Images(pem) as images:
        images.tell("/a", PNG)
        distrusting = ImageFetcher(policy)
        with pytest.raises(ImageError, match="could not be read"):
            distrusting.fetch(f"https://images.test:{images.port}/a")
        distrusting.close()
        monkeypatch.setattr("certifi.where", lambda: str(pem))
        fetcher = ImageFetcher(policy)
        assert fetcher.fetch(f"https://images.test:{images.port}/a") == PNG
        with pytest.raises(ImageError, match="could not be read"):
            fetcher.fetch(f"https://other.test:{images.port}/a")
        fetcher.close()


def _certificate(path: Path, name: str) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    hour = datetime.timedelta(hours=1)
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign")
    use = {**dict.fromkeys((*others, "encipher_only", "decipher_only"), False)}
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), now - hour, now + hour)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=True, **use), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(pem + made.public_bytes(serialization.Encoding.PEM))


@pytest.mark.parametrize(
    "address", ["168.63.129.16", "100.100.100.200", "fd00:ec2::254", "64:ff9b::a9fe:a9fe", "2001:0:1::1", "fec0::1"]
)
def test_addresses_of_clouds_and_of_tunnels(address):
    """X18: the standard's tables, and what the clouds keep for themselves."""
    from airflow_batch_provider.images.fetch import is_public

    assert not is_public(address)


def test_dripped_headers_end_with_the_deadline():
    """X18: a byte now and then holds nobody beyond the time for the whole image."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip():
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                while not stop.wait(0.05):
                    connection.sendall(b"H")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        fetcher = ImageFetcher(ImagePolicy(timeout=0.5, attempts=1, private_hosts=["127.0.0.1"]))
        try:
            with pytest.raises(ImageError, match=r"took longer than 0\.5 s"):
                fetcher.fetch(f"http://127.0.0.1:{server.getsockname()[1]}/a.png")
        finally:
            stop.set()
            fetcher.close()
            thread.join()


def test_a_name_server_that_does_not_answer_ends_with_the_deadline(monkeypatch):
    """X18: the system's resolver has no time limit; the image's time holds for it, too."""
    silent = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: silent.wait(60))
    fetcher = ImageFetcher(ImagePolicy(timeout=0.2, attempts=2, pause=0.01))
    try:
        with pytest.raises(ImageError, match=r"its host was not found within 0\.2 s, after 2 attempts"):
            fetcher.fetch("http://images.example/a.png")
    finally:
        silent.set()
        fetcher.close()
