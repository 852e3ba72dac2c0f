"""Files fetched from a real server on this machine that behaves as well or as badly as servers do."""

import hashlib
import json
import random
import resource
import shutil
import signal
import socket
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from benchmark.errors import UserError
from benchmark.execute import fetch as module
from benchmark.execute.fetch import fetch, name_of
from tests.file_server import only_this_machine, serving

CONTENT = random.Random(0).randbytes(300_000)
SHA = hashlib.sha256(CONTENT).hexdigest()
OTHER = random.Random(1).randbytes(300_000)


class Watch:
    """What was told; interrupts the download after so many bytes, as Ctrl-C would."""

    def __init__(self, interrupt: int | None = None) -> None:
        self.told: list[tuple[str, int, int | None]] = []
        self.notes: list[str] = []
        self.interrupt = interrupt

    def progress(self, what: str, done: int, total: int | None) -> None:
        self.told.append((what, done, total))
        if self.interrupt is not None and done >= self.interrupt:
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that would have been made."""
    made: list[float] = []
    monkeypatch.setattr(module.time, "sleep", made.append)
    only_this_machine(monkeypatch)
    return made


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / "thing.bin"


def visible(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if not path.name.startswith("."))


def interrupted(site: Any, target: Path, after: int = 100_000) -> int:
    """Fetch until `after` bytes came and press Ctrl-C; how many are kept."""
    with pytest.raises(KeyboardInterrupt):
        fetch(f"{site.url}/thing.bin", target, Watch(interrupt=after))
    kept = target.with_name("thing.bin.part").stat().st_size
    assert after <= kept < len(CONTENT) and not target.exists()
    site.asked.clear()
    return kept


def refusal(url: str, target: Path, **how: Any) -> str:
    with pytest.raises(UserError) as caught:
        fetch(url, target, Watch(), **how)
    assert not target.exists()
    return str(caught.value)


def test_a_file_comes_whole_and_its_hash_is_written_down(target: Path) -> None:
    watch = Watch()
    with serving(CONTENT) as site:
        fetch(f"{site.url}/thing.bin", target, watch)
        assert site.ranges_asked() == [None]
    assert target.read_bytes() == CONTENT
    assert visible(target) == ["thing.bin", "thing.bin.sha256"]
    assert target.with_name("thing.bin.sha256").read_text() == f"{SHA}  thing.bin\n"
    assert (
        watch.told[0] == ("thing.bin", 0, len(CONTENT))
        and ("thing.bin", len(CONTENT), len(CONTENT)) in watch.told
    )
    assert watch.told[-1] == ("checking thing.bin", len(CONTENT), len(CONTENT))
    assert len(watch.notes) == 1 and watch.notes[0].startswith(
        f"no checksum is published; sha256 of what came: {SHA} (kept in "
    )


def test_an_empty_file_and_one_of_unknown_length(target: Path) -> None:
    for content, how in ((b"", {}), (CONTENT, {"length": False})):
        with serving(content, **how) as site:
            fetch(f"{site.url}/{len(content)}", target.with_name(str(len(content))), Watch())
        assert target.with_name(str(len(content))).read_bytes() == content


def test_a_file_that_is_there_is_checked_and_not_asked_for(target: Path) -> None:
    with serving(CONTENT) as site:
        url = f"{site.url}/thing.bin"
        fetch(url, target, Watch())
        watch = Watch()
        fetch(url, target, watch)
        assert watch.notes == ["thing.bin has the sha256 of the first time."]
        target.write_bytes(CONTENT[:-1])
        with pytest.raises(
            UserError,
            match=r"thing.bin has sha256 \w+, not " + SHA + " as of the first time, in .*; remove it, and",
        ):
            fetch(url, target, Watch())
        target.with_name("thing.bin.sha256").write_text("nonsense\n")
        with pytest.raises(
            UserError,
            match=r"thing.bin.sha256 is damaged: expected a sha256 and a file name; remove it and run",
        ):
            fetch(url, target, Watch())
        assert len(site.asked) == 1


def test_a_damaged_record_costs_nothing_of_what_came(target: Path) -> None:
    record = target.with_name("thing.bin.sha256")
    target.parent.mkdir()
    record.write_text("")
    with serving(CONTENT) as site:
        assert "thing.bin.sha256 is damaged" in refusal(f"{site.url}/thing.bin", target)
        record.unlink()
        fetch(f"{site.url}/thing.bin", target, Watch())
        assert site.ranges_asked() == [None, f"bytes={len(CONTENT)}-"]
    assert target.read_bytes() == CONTENT


def test_what_comes_a_second_time_must_be_what_came_first(target: Path) -> None:
    with serving(CONTENT) as site:
        fetch(f"{site.url}/thing.bin", target, Watch())
    target.unlink()
    with serving(OTHER) as site:
        said = refusal(f"{site.url}/thing.bin", target)
        assert (
            f"not {SHA} as of the first time" in said
            and f"or remove {target}.sha256 to accept what comes" in said
        )
        assert visible(target) == ["thing.bin.sha256"]
        fetch(
            f"{site.url}/thing.bin", target, Watch(), sha256=hashlib.sha256(OTHER).hexdigest()
        )  # the user's word counts for more
    assert target.read_bytes() == OTHER


def test_a_hash_that_is_asked_for(target: Path) -> None:
    with serving(CONTENT) as site:
        said = refusal(f"{site.url}/thing.bin", target, sha256="0" * 64)
        assert (
            said
            == f"what came for {target} has sha256 {SHA}, not {'0' * 64} as asked for; it was not kept; try "
            f"another source."
        )
        assert visible(target) == []
        watch = Watch()
        fetch(f"{site.url}/thing.bin", target, watch, sha256=SHA.upper())
        assert watch.notes == ["thing.bin has the sha256 asked for."]


def test_an_interrupted_download_goes_on_from_what_came(target: Path) -> None:
    for how in ({}, {"etag": None, "modified": "Sat, 01 Jan 2022 00:00:00 GMT"}, {"describes_parts": False}):
        with serving(CONTENT, **how) as site:
            kept = interrupted(site, target)
            watch = Watch()
            fetch(f"{site.url}/thing.bin", target, watch)
            assert site.ranges_asked() == [f"bytes={kept}-"] and site.asked[0]["If-Range"] == (
                site.etag or site.modified
            )
            assert watch.told[0] == ("thing.bin", kept, len(CONTENT))
            assert target.read_bytes() == CONTENT
        target.unlink()


def test_an_interrupted_check_keeps_what_came(target: Path) -> None:
    class AtCheck(Watch):
        def progress(self, what: str, done: int, total: int | None) -> None:
            if what.startswith("checking"):
                raise KeyboardInterrupt

    with serving(CONTENT) as site:
        with pytest.raises(KeyboardInterrupt):
            fetch(f"{site.url}/thing.bin", target, AtCheck())
        fetch(
            f"{site.url}/thing.bin", target, Watch()
        )  # the server answers 416: there is nothing after what came
        assert site.ranges_asked() == [None, f"bytes={len(CONTENT)}-"]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("resets", [False, True])
def test_broken_connections_are_tried_again_from_where_they_broke(
    target: Path, pauses: list[float], resets: bool
) -> None:
    watch = Watch()
    with serving(CONTENT, sends=[1000, 0, 0, 70_000, 5], resets=resets) as site:
        fetch(f"{site.url}/thing.bin", target, watch)
        asked = site.ranges_asked()
    assert target.read_bytes() == CONTENT
    assert len(asked) == 6
    if not resets:  # a reset takes along what was under way
        assert asked == [None, "bytes=1000-", "bytes=1000-", "bytes=1000-", "bytes=71000-", "bytes=71005-"]
        assert pauses == [1, 2, 4, 1, 1]  # longer and longer, from the start again once something came
        assert watch.notes[0] == "the connection broke after 1,000 of 300,000 bytes; trying again in 1 s."


def test_it_gives_up_when_nothing_new_comes(target: Path, pauses: list[float]) -> None:
    with serving(CONTENT, sends=[1000] + [0] * 50) as site:
        said = refusal(f"{site.url}/thing.bin", target)
        assert len(site.asked) == 5 and pauses == [1, 2, 4, 8]
        assert (
            "could not be fetched: the connection broke after 1,000 of 300,000 bytes; 1.0 kB of it are kept; "
            "check the" in said
        )
        site.sends.clear()
        fetch(f"{site.url}/thing.bin", target, Watch())
        assert site.ranges_asked()[-1] == "bytes=1000-"
    assert target.read_bytes() == CONTENT


def test_it_gives_up_on_a_server_that_always_starts_over_and_breaks(
    target: Path, pauses: list[float]
) -> None:
    with serving(CONTENT, ranges=False, sends=[1000, 5000, 4000, 5000, 3000, 2000] + [0] * 50) as site:
        assert "could not be fetched" in refusal(f"{site.url}/thing.bin", target)
        assert len(site.asked) == 6 and pauses == [1, 1, 2, 4, 8]


def test_a_server_that_cannot_send_parts_starts_over(target: Path) -> None:
    watch = Watch()
    with serving(CONTENT, ranges=False) as site:
        kept = interrupted(site, target)
        fetch(f"{site.url}/thing.bin", target, watch)
        assert site.ranges_asked() == [f"bytes={kept}-"]
    assert watch.notes[0].startswith("the server sends the file from its start")
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"heeds_if_range": False},  # sends the rest of the new file: its ETag tells
        {"heeds_if_range": False, "describes_parts": False},  # its size tells
        {"etag": None, "modified": "Sat, 01 Jan 2022 00:00:00 GMT"},
    ],
)
def test_a_file_that_changed_on_the_server_is_not_glued_together(target: Path, how: dict[str, Any]) -> None:
    with serving(CONTENT, **how) as site:
        interrupted(site, target)
        site.content = OTHER if site.describes_parts else OTHER + b"more"
        site.etag, site.modified = site.etag and '"two"', site.modified and "Sun, 02 Jan 2022 00:00:00 GMT"
        watch = Watch()
        fetch(f"{site.url}/thing.bin", target, watch)
        assert "starting again" in watch.notes[0] or "it has changed" in watch.notes[0]
    assert target.read_bytes() == site.content


def test_a_file_that_shrank_on_a_server_that_heeds_no_condition(target: Path) -> None:
    with serving(CONTENT, heeds_if_range=False) as site:
        for shorter in (lambda kept: 50_000, lambda kept: kept):  # even to just what came
            kept = interrupted(site, target)
            site.content, site.etag = OTHER[: shorter(kept)], '"two"'
            fetch(f"{site.url}/thing.bin", target, Watch())
            assert target.read_bytes() == site.content
            shutil.rmtree(target.parent)
            site.content, site.etag = CONTENT, '"one"'


@pytest.mark.parametrize("how", [{"etag": None}, {"etag": 'W/"weak"'}])
def test_a_part_of_a_version_that_cannot_be_told_is_not_gone_on_with(
    target: Path, how: dict[str, Any]
) -> None:
    with serving(CONTENT, **how) as site:
        interrupted(site, target)
        fetch(f"{site.url}/thing.bin", target, Watch())
        assert site.ranges_asked() == [None]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "about", ["{", "[]", json.dumps({"url": "http://elsewhere/thing.bin", "etag": '"one"'}), None]
)
def test_a_part_of_something_else_is_not_gone_on_with(target: Path, about: str | None) -> None:
    target.parent.mkdir()
    target.with_name("thing.bin.part").write_bytes(OTHER[:1000])
    if about:
        target.with_name("thing.bin.part.json").write_text(about)
    with serving(CONTENT) as site:
        fetch(f"{site.url}/thing.bin", target, Watch())
        assert site.ranges_asked() == [None]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "reason"), [(404, "Not Found"), (403, "Forbidden"), (416, "Requested Range Not Satisfiable")]
)
def test_a_refusal_is_said_at_once(target: Path, status: int, reason: str) -> None:
    with serving(CONTENT, statuses=[status] * 9) as site:
        said = refusal(f"{site.url}/thing.bin", target)
        assert said.endswith(f"/thing.bin cannot be fetched: the server answered {status} {reason}.")
        assert len(site.asked) == 1


def test_an_answer_that_is_no_file(target: Path) -> None:
    with serving(CONTENT, statuses=[204]) as site:
        assert "cannot be fetched: the server answered 204 No Content." in refusal(
            f"{site.url}/thing.bin", target
        )
    with serving(b"<html>Please log in</html>", type="text/html; charset=utf-8") as site:
        assert "/thing.bin is a web page, not the file; give the file's own URL with --url." in refusal(
            f"{site.url}/thing.bin", target
        )
        fetch(f"{site.url}/page.html", target, Watch())


def test_a_server_in_trouble_is_asked_again(target: Path, pauses: list[float]) -> None:
    with serving(CONTENT, statuses=[500, 503, 200]) as site:
        watch = Watch()
        fetch(f"{site.url}/thing.bin", target, watch)
    assert target.read_bytes() == CONTENT and pauses == [1, 2]
    assert watch.notes[0] == "the server answered 500 Internal Server Error; trying again in 1 s."
    target.unlink()
    with serving(CONTENT, statuses=[502] * 9) as site:
        said = refusal(f"{site.url}/thing.bin", target)
        assert (
            "could not be fetched: the server answered 502 Bad Gateway; check the connection" in said
            and len(site.asked) == 5
        )


def test_a_silent_server_and_none_at_all(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.1)
    monkeypatch.setattr(module, "PAUSES", (0.5,))
    with serving(CONTENT, holds_at=1000) as site:
        said = refusal(f"{site.url}/thing.bin", target)
        assert "the connection broke after 1.0 kB (timed out); 1.0 kB of it are kept" in said
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        said = refusal(f"http://127.0.0.1:{closed.getsockname()[1]}/thing.bin", target)
    assert "could not be fetched: there is no connection (" in said and "kept" not in said


def test_a_server_that_lies_about_the_length(target: Path) -> None:
    with serving(CONTENT, declared=len(CONTENT) + 7) as site:
        said = refusal(f"{site.url}/thing.bin", target)
        assert "broke after 300,000 of 300,007 bytes" in said
    shutil.rmtree(target.parent)
    with serving(CONTENT, declared=1000) as site:
        assert "not " + SHA + " as asked for" in refusal(f"{site.url}/thing.bin", target, sha256=SHA)
        watch = Watch()
        fetch(f"{site.url}/thing.bin", target, watch, size=len(CONTENT))
        assert (
            watch.notes[0]
            == "the server has 1,000 bytes where 300,000 are expected: it may be another version."
        )


def test_redirects_are_followed_to_http_only(target: Path) -> None:
    with serving(CONTENT) as site:
        site.moved = f"{site.url}/moved/elsewhere.bin"
        kept = interrupted(site, target)
        fetch(f"{site.url}/thing.bin", target, Watch())
        assert (
            site.ranges_asked() == [f"bytes={kept}-"] * 2
        )  # of the place that moved and of the one it moved to
        assert target.read_bytes() == CONTENT
        target.unlink()
        for site.moved in ("ftp://127.0.0.1/thing.bin", "file:///etc/passwd"):
            said = refusal(f"{site.url}/thing.bin", target)
            assert "cannot be fetched: the server answered 302" in said and site.moved in said
    assert visible(target) == ["thing.bin.sha256"]


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://host/thing", "thing.bin", "http:///thing", "http://host:port/thing", "http://host:0/thing",
     "http://user:secret@host/thing", "http://host/a thing", "http://host/\u00e4", "https://[::1/thing", "http://host/a\nb"],
)  # fmt: skip
def test_urls_that_are_none(url: str, target: Path) -> None:
    with pytest.raises(UserError, match=r"is not a URL that can be fetched; expected https://HOST/PATH"):
        fetch(url, target, Watch())
    assert not target.parent.exists()


def test_the_name_that_a_url_ends_in() -> None:
    assert name_of("https://host/a/b%20c.tar.gz?download=1#x") == "b c.tar.gz"
    for url in (
        "https://host",
        "https://host/",
        "https://host/..",
        "https://host/a/%2e%2e",
        "https://host/.x",
        "https://host/a%5Cb",
    ):
        with pytest.raises(UserError, match="does not end in the name of a file; give the file's own URL"):
            name_of(url)
    assert name_of("https://host/a%2Fb") == "b"


def test_a_host_name_that_cannot_be_one(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the name is refused before it is looked up
    host = "a" * 70 + ".invalid"
    with pytest.raises(UserError, match=f"'http://{host}/thing' is not a URL that can be fetched \\(.*idna"):
        fetch(f"http://{host}/thing", target, Watch())


def test_a_disk_too_small_is_said_before_anything_comes(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    with serving(CONTENT) as site:
        kept = interrupted(site, target)
        monkeypatch.setattr(
            module.shutil, "disk_usage", lambda folder: usage(10**6, 0, len(CONTENT) - kept - 1)
        )
        said = refusal(f"{site.url}/thing.bin", target)
        assert (
            f"needs {module.decimal(len(CONTENT) - kept)} more and {target.parent} has" in said
            and "--data DIR" in said
        )
        monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: usage(10**6, 0, len(CONTENT) - kept))
        fetch(f"{site.url}/thing.bin", target, Watch())
    assert target.read_bytes() == CONTENT


def test_a_write_that_fails_keeps_what_came(target: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with serving(CONTENT) as site:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # no file can grow beyond
        try:
            said = refusal(f"{site.url}/thing.bin", target)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, handler)
        assert said.startswith(
            f"cannot write {target}: File too large; make room there and run the same command again"
        )
        fetch(f"{site.url}/thing.bin", target, Watch())
        assert site.ranges_asked() == [None, "bytes=100000-"]
    assert target.read_bytes() == CONTENT


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "downloads").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*thing.bin: File exists; make room there"):
        fetch("http://127.0.0.1/thing.bin", tmp_path / "downloads" / "thing.bin", Watch())


def test_two_processes_do_not_fetch_one_file(target: Path) -> None:
    target.parent.mkdir()
    with FileLock(target.parent / ".thing.bin.lock"):
        assert refusal("http://127.0.0.1/thing.bin", target).startswith(
            f"another process is fetching {target}; wait for it"
        )
