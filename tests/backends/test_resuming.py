"""Downloads that break off: every byte once, over as many answers as it takes, or an error that says so."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.backends import resuming
from airflow_batch_provider.backends.resuming import ChangedError, Head, head_of, range_headers, resumed
from airflow_batch_provider.core.errors import NotFoundError, ProviderError
from airflow_batch_provider.testing import fake_route
from tests.testing.test_fault_plan import World


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(resuming.time, "sleep", lambda seconds: None)


class File:
    """A file whose answers break off as a list says.

    :param cuts: after how many bytes each answer breaks off; those after them are whole.
    """

    def __init__(self, content, cuts=(), *, ranges=True, total=True, tag='"v1"', packed=False):
        self.content, self.cuts = content, list(cuts)
        self.ranges, self.total, self.tag, self.packed = ranges, total, tag, packed
        self.offsets = []

    def __call__(self, offset, first):
        self.offsets.append(offset)
        start = offset if self.ranges else 0
        total = len(self.content) if self.total and not self.packed else None
        yield Head(start, total, self.tag, not self.packed)
        data = self.content[start:]
        cut = self.cuts.pop(0) if self.cuts else None
        for at in range(0, len(data[:cut]), 7):
            yield data[:cut][at : at + 7]
        if cut is not None and cut < len(data):
            raise ProviderError("cut", ambiguous=False)


@given(
    content=st.binary(max_size=200),
    cuts=st.lists(st.integers(1, 60), max_size=12),
    ranges=st.booleans(),
    total=st.booleans(),
    packed=st.booleans(),
)
def test_every_byte_once(content, cuts, ranges, total, packed):
    """A6: whatever breaks off where, ranges heeded or not, lengths told or not: the file comes whole."""
    growing = cuts if ranges and not packed else sorted(set(cuts))  # without ranges an answer must get further
    file = File(content, growing, ranges=ranges, total=total, packed=packed)
    try:
        assert b"".join(resumed("GET x", file)) == content
    except ProviderError:
        assert not content


def test_ranges_save_what_was_read():
    """A6: where ranges are heeded, nothing is read twice; the offset is where the last answer broke off."""
    file = File(b"0123456789" * 10, [40, 30])
    assert b"".join(resumed("GET x", file)) == file.content
    assert file.offsets == [0, 40, 70]


def test_progress_is_what_counts():
    """A6: a hundred breaks are no reason to give up while each try brings bytes; four that bring none are."""
    file = File(b"x" * 1000, [1] * 100)
    assert len(b"".join(resumed("GET x", file))) == 1000
    file = File(b"x" * 1000, [1, *[0] * 50])
    with pytest.raises(ProviderError, match="cut"):
        b"".join(resumed("GET x", file))
    assert len(file.offsets) == 2 + len(resuming.PAUSES)


@pytest.mark.parametrize("what", ["tag", "length", "content", "start"])
def test_a_file_that_changes_is_not_mixed(what):
    """A6: the rest of another version is no rest: by tag, by length, or by the bytes that were read already."""
    file = File(b"0123456789" * 10, [40], ranges=what != "content", tag=None if what == "content" else '"v1"')
    got = resumed("GET x", file)
    assert next(got) == b"0123456"
    if what == "tag":
        file.tag = '"v2"'
    elif what == "length":
        file.content += b"more"
    elif what == "content":
        file.content = b"9876543210" * 10
    else:
        file.ranges, file.content = False, file.content[5:] + b"01234"
    with pytest.raises(ChangedError, match="changed while it was read"):
        b"".join(got)


def test_an_error_before_the_first_byte_or_after_the_last_is_raised():
    """A6: what is not there, or does not fit its checksum, is not tried again here."""

    def missing(offset, first):
        raise NotFoundError("404")
        yield

    def spoilt(offset, first):
        yield Head(0, 3)
        yield b"abc"
        raise ProviderError("the checksum does not fit")

    with pytest.raises(NotFoundError):
        list(resumed("GET x", missing))
    with pytest.raises(ProviderError, match="checksum"):
        list(resumed("GET x", spoilt))


def test_a_clean_end_before_the_length_is_none():
    """A6: a proxy that ends an answer early without an error."""

    def short(offset, first):
        yield Head(offset, 10)
        yield b"x" * min(4, 10 - offset)

    assert b"".join(resumed("GET x", short)) == b"x" * 10


def test_heads_of_http():
    """A6: RFC 9110: ranges by Content-Range, strong tags only, no offsets into what was packed on the way."""
    assert head_of(200, {"content-length": "5", "etag": '"a"'}) == Head(0, 5, '"a"')
    assert head_of(206, {"content-range": "bytes 3-9/10", "content-length": "7"}) == Head(3, 10)
    assert head_of(206, {"content-range": "bytes 3-9/*"}) == Head(3, None)
    assert head_of(416, {"content-range": "bytes */10"}) == Head(10, 10)
    assert head_of(200, {"etag": 'W/"a"'}) == Head()
    assert head_of(200, {"content-length": "5", "content-encoding": "gzip", "etag": '"a"'}) == Head(counts=False)
    assert range_headers(0, None) == {}
    assert range_headers(7, Head(0, 9, '"a"')) == {"Range": "bytes=7-", "If-Range": '"a"'}
    assert range_headers(7, Head(0, 9)) == {"Range": "bytes=7-"}


ROUTES = ("openai", "azure_openai", "portkey", "truefoundry", "bedrock", "portkey_bedrock")
"""Vertex AI is apart: Google's client reads by ranges of its own, and drops what a broken one brought."""


@pytest.fixture(scope="module", params=ROUTES)
def shared(request):
    with fake_route(request.param) as route:
        world = World(route)
        yield world
        world.backend.close()


@pytest.fixture
def world(shared):
    shared.fake.faults.reset()
    yield shared
    shared.fake.faults.reset()


def digest(chunks):
    found = hashlib.sha256()
    for chunk in chunks:
        found.update(chunk)
    return found.hexdigest()


@pytest.mark.parametrize("no_ranges", [False, True], ids=["ranges", "no ranges"])
def test_a_download_that_always_breaks_off_comes_whole(world, no_ranges):
    """A6: every answer of the provider breaks off after half of the file: with ranges the rest follows; where they are
    ignored it is an error, for no answer gets further."""
    job = world.ended(world.send())
    whole = list(world.backend.outputs(job))
    world.fake.faults.cut_every = len(b"".join(whole)) * 2 // 3
    world.fake.faults.no_ranges = no_ranges
    if no_ranges:
        with pytest.raises(ProviderError):
            list(world.backend.outputs(job))
        world.fake.faults.cut_every = None
        world.fake.faults.cut_downloads = 1
    assert digest(world.backend.outputs(job)) == digest(whole)


def test_a_hook_writes_a_file_whole_or_not_at_all(tmp_path):
    """A6: a download that fails for good leaves no cut file under its final name, and what was there."""
    with fake_route("openai") as route:
        check_hook(World(route), tmp_path)


def check_hook(world, tmp_path):
    from airflow.sdk import Connection

    from airflow_batch_provider.hooks.base import hook_class

    made = Connection(conn_id="c", **{**world.route.connection, "extra": "{}"})
    hook = hook_class("c", made.conn_type)("c", connection=made)
    job = world.ended(world.send())
    target = tmp_path / "out.jsonl"
    target.write_bytes(b"old")
    world.fake.faults.cut_every = 10
    world.fake.faults.no_ranges = True
    with pytest.raises(ProviderError):
        hook.download(job.outputs[0], target)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
    world.fake.faults.reset()
    assert hook.download(job.outputs[0], target) == target.stat().st_size > 10
