"""`bench data get` against a server on this machine: asking, fetching, unpacking, going on after a kill."""

import hashlib
import io
import random
import signal
import sys
from pathlib import Path

import pytest

from benchmark.cli import data as module
from benchmark.errors import UserError
from benchmark.execute.fetch import name_of
from benchmark.spec import registry
from datasets.prepared import Prepared
from tests.benchmark.test_unpack import FILES, content, make_tar
from tests.commands import fork, wait_until
from tests.file_server import only_this_machine, serving

CONTENT = random.Random(0).randbytes(400_000)
SHA = hashlib.sha256(CONTENT).hexdigest()


def get(name: str, data: Path, yes: bool, url: str | None = None, sha256: str | None = None) -> int:
    return module.get(name, yes, url, sha256, data=data)[0]


@pytest.fixture(autouse=True)
def _local(monkeypatch: pytest.MonkeyPatch) -> None:
    only_this_machine(monkeypatch)


@pytest.fixture
def tgz(tmp_path: Path) -> bytes:
    files = {f"PASCAL_MT/{name}": value for name, value in FILES.items()}
    return make_tar(tmp_path / "made.tgz", files).read_bytes()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_file_is_fetched_and_what_is_next_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "my data"
    with serving(CONTENT) as site:
        url = f"{site.url}/nyu_depth_v2_labeled.mat"
        assert get("nyuv2", data, True, url, SHA) == 0
    here = data / "downloads" / "nyu_depth_v2_labeled.mat"
    assert here.read_bytes() == CONTENT
    said = capsys.readouterr().out
    told = f"from     {url}", f"to       {here}", "licence  research use", f"{here.name} has the sha256"
    assert all(part in said for part in told)
    assert said.rstrip().endswith(f"next: bench data prepare nyuv2 '{here}' --data '{data}'")


def test_an_archive_is_unpacked_once(tmp_path: Path, tgz: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    with serving(tgz) as site:
        url = f"{site.url}/PASCAL_MT.tgz"
        assert get("pascal_context", data, True, url) == 0  # as the file is called
        assert get("pascal-context", data, False, url) == 0  # nothing is left to ask
        (data / "downloads" / "PASCAL_MT.tgz").unlink()  # who has unpacked it may remove it
        assert get("pascal-context", data, False, url) == 0
        assert len(site.asked) == 1
    assert content(data / "downloads" / "PASCAL_MT") == FILES
    said = capsys.readouterr().out
    assert said.count("PASCAL_MT.tgz has the sha256 ") == 1
    following = f"next: bench data prepare pascal-context {data / 'downloads' / 'PASCAL_MT'} --data {data}\n"
    assert said.count(following) == 3


def test_nothing_is_fetched_without_being_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(CONTENT) as site:
        url = f"{site.url}/a.mat"
        monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
        with pytest.raises(UserError, match=f"nothing was fetched, .*; add --yes to fetch {url}."):
            get("nyuv2", tmp_path, False, url)
        for answer, code in (("n\n", 1), ("\n", 1), ("y\n", 0)):
            assert not site.asked and not (tmp_path / "downloads").exists()
            monkeypatch.setattr(sys, "stdin", Terminal(answer))
            assert get("nyuv2", tmp_path, False, url) == code
            said = capsys.readouterr().out
            assert "Fetch it? [y/N]" in said and (code == 0) != ("nothing was fetched." in said)
        assert len(site.asked) == 1


def test_names_that_cannot_be_fetched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, message in (
        ("nyu", "unknown data set 'nyu'; "),
        ("nyuv2-41", "unknown form of nyuv2 'nyuv2-41'"),
        ("cityscapes", "no file of cityscapes can be fetched by a program: .*terms"),
        ("own-data", "no file of own-data can be fetched by a program: these are your own"),
    ):
        with pytest.raises(UserError, match=message):
            get(name, tmp_path, True)
    assert get("scenes", tmp_path, True) == 0
    assert capsys.readouterr().out == "scenes is made on the spot; there is nothing to download.\n"
    for sha256 in ("", "g" * 64):
        with pytest.raises(UserError, match=r"--sha256 '\w*' is not a SHA-256; expected 64 hexadecimal"):
            get("nyuv2", tmp_path, True, None, sha256)
    assert not list(tmp_path.iterdir())


def test_every_data_set_of_files_has_a_place_or_a_way() -> None:
    kinds = [kind for kind in map(registry.dataset, registry.dataset_names()) if issubclass(kind, Prepared)]
    assert len(kinds) == 4
    for kind in kinds:
        assert kind.elsewhere and all(sentence.endswith(".") for sentence in kind.elsewhere)
        assert kind.url is None or name_of(kind.url), kind.name


def test_a_killed_download_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part = tmp_path / "downloads" / "a.mat.part"
    with serving(CONTENT, holds_at=150_000) as site:
        url = f"{site.url}/a.mat"
        process = fork(lambda: get("nyuv2", tmp_path, True, url, SHA))
        # What was read last may not be on disk yet: the writer passes on what fills its buffer.
        wait_until(lambda: part.exists() and part.stat().st_size > 100_000, process)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=300)
        kept = part.stat().st_size
        assert 100_000 < kept <= 150_000 and part.read_bytes() == CONTENT[:kept]
        site.holds_at = None
        assert get("nyuv2", tmp_path, True, url, SHA) == 0
        assert site.ranges_asked() == [None, f"bytes={kept}-"]
    assert (tmp_path / "downloads" / "a.mat").read_bytes() == CONTENT
    assert "a.mat has the sha256 asked for." in capsys.readouterr().out
