"""Files fetched from a real server on this machine that behaves as well or as badly as servers do."""

import errno
import hashlib
import http.client
import json
import random
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from benchmark.errors import UserError
from benchmark.execute import fetch as module
from benchmark.execute.fetch import fetch, name_of
from tests.benchmark.test_unpack import files_no_larger_than
from tests.file_server import Site, only_this_machine, serving

CONTENT = random.Random(0).randbytes(300_000)
SHA = hashlib.sha256(CONTENT).hexdigest()
OTHER = random.Random(1).randbytes(300_000)
DATED = {"etag": None, "modified": "Sat, 01 Jan 2022 00:00:00 GMT"}


@pytest.fixture(autouse=True)
def _local(monkeypatch: pytest.MonkeyPatch) -> None:
    only_this_machine(monkeypatch)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / "thing.bin"


def get(site: Site, target: Path, **how: Any) -> list[str]:
    """Fetch the site's file; the notes."""
    notes: list[str] = []
    fetch(f"{site.url}/thing.bin", target, lambda *_: None, notes.append, **how)
    return notes


def interrupted(site: Site, target: Path, after: int = 100_000) -> int:
    """Fetch until `after` bytes came and press Ctrl-C; how many are kept."""

    def press(what: str, done: int, total: int | None) -> None:
        if done >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(f"{site.url}/thing.bin", target, press, print)
    kept = target.with_name("thing.bin.part").stat().st_size
    assert after <= kept < len(CONTENT) and not target.exists()
    site.asked.clear()
    return kept


def refusal(url: str, target: Path, **how: Any) -> str:
    with pytest.raises(UserError) as caught:
        fetch(url, target, lambda *_: None, print, **how)
    assert not target.exists()
    return str(caught.value)


def test_a_file_comes_whole_and_is_only_checked_the_next_time(target: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    with serving(CONTENT) as site:
        fetch(f"{site.url}/thing.bin", target, lambda *step: told.append(step), print)
        assert target.read_bytes() == CONTENT and site.ranges_asked() == [None]
        assert {p.name for p in target.parent.iterdir() if p.suffix != ".lock"} == {target.name}
        whole = ("thing.bin", len(CONTENT), len(CONTENT))
        assert told[0] == ("thing.bin", 0, len(CONTENT)) and told[-1] == whole
        assert get(site, target) == [f"thing.bin has the sha256 {SHA}."]
        assert get(site, target, sha256=SHA.upper()) == ["thing.bin has the sha256 asked for."]
        target.write_bytes(CONTENT[:-1])
        with pytest.raises(UserError, match=rf"thing.bin has sha256 \w+, not {SHA} as asked for; remove it"):
            get(site, target, sha256=SHA)
        assert len(site.asked) == 1 and target.exists()


def test_what_comes_must_be_what_was_asked_for(target: Path) -> None:
    for content, how in ((b"", {}), (CONTENT, {"length": False})):  # nothing, and of unknown length
        with serving(content, **how) as site:
            get(site, target)
        assert target.read_bytes() == content
        target.unlink()
    with serving(CONTENT) as site:
        message = refusal(f"{site.url}/thing.bin", target, sha256="0" * 64)
    assert f"not {'0' * 64} as asked for" in message and not target.with_name("thing.bin.part").exists()


@pytest.mark.parametrize("how", [{}, DATED, {"describes_parts": False}])
def test_an_interrupted_download_goes_on_from_what_came(target: Path, how: dict[str, Any]) -> None:
    with serving(CONTENT, **how) as site:
        kept = interrupted(site, target)
        get(site, target)
        assert site.ranges_asked() == [f"bytes={kept}-"]
        assert site.asked[0]["If-Range"] == (site.etag or site.modified)
    assert target.read_bytes() == CONTENT


def test_what_came_whole_is_not_asked_for_again(target: Path) -> None:
    with serving(CONTENT) as site:
        get(site, target)
        validator = {"url": f"{site.url}/thing.bin", "validator": site.etag, "bytes": len(CONTENT)}
        target.with_name("thing.bin.part.json").write_text(json.dumps(validator))
        target.rename(target.with_name("thing.bin.part"))
        get(site, target)
        assert site.ranges_asked() == [None]
    assert target.read_bytes() == CONTENT


def test_after_a_broken_connection_the_next_call_goes_on_from_where_it_broke(target: Path) -> None:
    with serving(CONTENT, sends=[1000, 0, 70_000]) as site:
        for _ in range(3):
            message = refusal(f"{site.url}/thing.bin", target)
        assert "could not be fetched whole (the connection broke after 71,000 of 300,000 bytes)" in message
        assert "71.0 kB are kept; check the connection and run the same command again" in message
        get(site, target)
        assert site.ranges_asked() == [None, "bytes=1000-", "bytes=1000-", "bytes=71000-"]
    assert target.read_bytes() == CONTENT


# A server that heeds no condition sends the rest of the new file: its ETag tells, or its size.
DEAF = {"heeds_if_range": False}


@pytest.mark.parametrize("how", [{}, {"ranges": False}, DEAF, DEAF | {"describes_parts": False}, DATED])
def test_a_file_that_changed_on_the_server_is_not_glued_together(target: Path, how: dict[str, Any]) -> None:
    with serving(CONTENT, **how) as site:
        interrupted(site, target)
        site.content = OTHER if site.describes_parts else OTHER + b"more"
        site.etag, site.modified = site.etag and '"two"', site.modified and "Sun, 02 Jan 2022 00:00:00 GMT"
        notes = get(site, target)
        assert "is not the one that a part came of" in notes[0] or "it has changed" in notes[0]
    assert target.read_bytes() == site.content


@pytest.mark.parametrize(
    "about", ["{", json.dumps({"url": "http://elsewhere/x", "validator": '"one"'}), None]
)
def test_a_part_of_something_else_is_not_gone_on_with(target: Path, about: str | None) -> None:
    target.parent.mkdir()
    target.with_name("thing.bin.part").write_bytes(OTHER[:1000])
    if about:
        target.with_name("thing.bin.part.json").write_text(about)
    for how in ({}, {"etag": None}, {"etag": 'W/"weak"'}):  # the last two: a version that cannot be told
        with serving(CONTENT, **how) as site:
            if how:
                target.unlink()
                interrupted(site, target)
            get(site, target)
            assert site.ranges_asked() == [None]
        assert target.read_bytes() == CONTENT


def test_an_answer_that_is_no_file_is_said_at_once(target: Path) -> None:
    for status in (404, 503, 416, 204):
        with serving(CONTENT, statuses=[status] * 9) as site:
            message = refusal(f"{site.url}/thing.bin", target)
            assert f"/thing.bin cannot be fetched: the server answered {status}" in message
            assert len(site.asked) == 1
    with serving(b"<html>Please log in</html>", type="text/html; charset=utf-8") as site:
        message = refusal(f"{site.url}/thing.bin", target)
        assert "/thing.bin is a web page, not the file; give the file's own URL with --url." in message


def test_a_silent_server_and_none_at_all(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 1.0)
    with serving(CONTENT, holds_at=1000) as site:
        message = refusal(f"{site.url}/thing.bin", target)
    assert "could not be fetched whole (timed out): 1.0 kB are kept" in message
    shutil.rmtree(target.parent)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        message = refusal(f"http://127.0.0.1:{closed.getsockname()[1]}/thing.bin", target)
    assert "could not be fetched whole ([Errno" in message and "0 bytes are kept" in message


def test_redirects_are_followed_but_not_to_files(target: Path) -> None:
    with serving(CONTENT) as site:
        site.moved = f"{site.url}/moved/elsewhere.bin"
        kept = interrupted(site, target)
        get(site, target)
        assert site.ranges_asked() == [f"bytes={kept}-"] * 2  # of the old place and of the new one
        assert target.read_bytes() == CONTENT
        target.unlink()
        site.moved = "file:///etc/passwd"
        assert "cannot be fetched: the server answered 302" in refusal(f"{site.url}/thing.bin", target)


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://host/thing", "thing.bin", "http:///thing", "http://host:port/thing",
     "http://host:0/thing", "http://user:secret@host/thing", "http://host/a thing", "http://host/\u00e4",
     "https://[::1/thing", "http://host/a\nb"],
)  # fmt: skip
def test_urls_that_are_none(url: str, target: Path) -> None:
    assert "is not a URL that can be fetched; expected https://HOST/PATH" in refusal(url, target)
    assert not target.parent.exists()


def test_the_name_that_a_url_ends_in(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert name_of("https://host/a/b%20c.tar.gz?download=1#x") == "b c.tar.gz"
    assert name_of("https://host/a%2Fb") == "b"
    for path in ("", "/", "/..", "/a/%2e%2e", "/.x", "/a%5Cb"):
        with pytest.raises(UserError, match="does not end in the name of a file; give the file's own URL"):
            name_of(f"https://host{path}")
    monkeypatch.undo()  # a host's name that cannot be one is refused before it is looked up
    assert "is not a URL that can be fetched (" in refusal(f"http://{'a' * 70}.invalid/thing", target)


def test_a_write_that_fails_keeps_what_came(target: Path) -> None:
    with serving(CONTENT) as site:
        with files_no_larger_than(100_000):
            message = refusal(f"{site.url}/thing.bin", target)
        assert message.startswith(f"cannot write {target}: File too large; make room there and run the same")
        get(site, target)
        assert site.ranges_asked() == [None, "bytes=100000-"]
    assert target.read_bytes() == CONTENT


def test_two_processes_do_not_fetch_one_file(target: Path) -> None:
    target.parent.mkdir()
    with FileLock(target.parent / ".thing.bin.lock"):
        message = refusal("http://127.0.0.1/thing.bin", target)
    assert message.startswith(f"another process is fetching {target}; wait for it")


def test_a_lost_network_is_not_taken_for_a_full_disk(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_route(*_: object) -> bytes:
        raise OSError(errno.EHOSTUNREACH, "No route to host")

    with serving(CONTENT) as site:
        with monkeypatch.context() as gone:
            gone.setattr(http.client.HTTPResponse, "read1", no_route)
            said = refusal(f"{site.url}/thing.bin", target)
        assert "could not be fetched whole (No route to host)" in said and "check the connection" in said
        get(site, target)
    assert target.read_bytes() == CONTENT
