"""Archives: good ones, ones that lead out of their folder, and damaged ones."""

import gzip
import io
import resource
import signal
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.execute.fetch import folder_of, unpack

FILES = {"one.txt": b"1" * 5000, "deep/er/two.txt": b"2", "deep/empty.txt": b""}


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def packed(path: Path, files: dict[str, bytes]) -> Path:
    return (make_zip if path.suffix == ".zip" else make_tar)(path, files)


def make_tar(path: Path, files: dict[str, bytes], *more: tarfile.TarInfo) -> Path:
    mode = "w" if path.suffix == ".tar" else "w:gz"
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, io.BytesIO(content))
        for member in more:
            tar.addfile(member)
    return path


def make_zip(path: Path, files: dict[str, bytes], *more: zipfile.ZipInfo) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files.items():
            zipped.writestr(name, content)
        for member in more:
            zipped.writestr(member, "/etc/passwd")
    return path


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


def zip_link(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def seen(folder: Path) -> list[str]:
    """What there is below a folder but for locks."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.suffix != ".lock")


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tgz", ".zip"])
@pytest.mark.parametrize("top", ["", "Thing/"])
def test_an_archive_is_unpacked_beside_itself(tmp_path: Path, ending: str, top: str) -> None:
    archive = packed(tmp_path / f"a.thing{ending}", {top + name: value for name, value in FILES.items()})
    folder = folder_of(archive)
    assert folder == tmp_path / "a.thing"
    unpack(archive, folder)
    assert content(folder) == FILES
    assert {path.name for path in tmp_path.glob("[!.]*")} == {"a.thing", archive.name}
    (folder / "one.txt").write_text("mine")
    unpack(archive, folder)  # what is there is whole, and stays
    assert (folder / "one.txt").read_text() == "mine"


@pytest.mark.parametrize("ending", [".tar", ".tgz", ".zip"])
def test_too_much_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    archive = packed(tmp_path / f"a{ending}", {"big": bytes(3 << 20)})
    with pytest.raises(UserError, match=r"unpacks to more than 2 MiB; nothing of it was unpacked"):
        unpack(archive, tmp_path / "a", limit=2 << 20)
    monkeypatch.setattr("benchmark.execute.fetch.LEAST", 1 << 20)
    if ending != ".tar":  # without a word, what is packed more densely than any images are
        with pytest.raises(UserError, match="unpacks to more than 1 MiB"):
            unpack(archive, tmp_path / "a")
    assert seen(tmp_path) == [archive.name]
    unpack(archive, tmp_path / "a", limit=4 << 20)
    assert content(tmp_path / "a") == {"big": bytes(3 << 20)}


def test_a_tar_of_too_many_empty_files_is_more_than_the_limit(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tgz", {f"{i}": b"" for i in range(2100)})
    with pytest.raises(UserError, match="unpacks to more than 1 MiB"):
        unpack(archive, tmp_path / "a", limit=1 << 20)


def test_a_hard_link_to_a_file_of_the_archive(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tgz", FILES, special("again.txt", tarfile.LNKTYPE, "one.txt"))
    unpack(archive, tmp_path / "a")
    assert content(tmp_path / "a") == FILES | {"again.txt": FILES["one.txt"]}


SECRET = [
    special("../evil", tarfile.REGTYPE),
    special("deep/../../evil", tarfile.REGTYPE),
    special("link", tarfile.SYMTYPE, ".."),
    special("in", tarfile.SYMTYPE, "one.txt"),
    special("hard", tarfile.LNKTYPE, "../../secret"),
    special("null", tarfile.CHRTYPE),
    special("pipe", tarfile.FIFOTYPE),
]


@pytest.mark.parametrize("member", SECRET, ids=lambda member: member.name)
def test_a_tar_that_leads_out_of_its_folder_is_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    (tmp_path / "secret").write_text("secret")
    inner = tmp_path / "downloads"
    inner.mkdir()
    archive, name = make_tar(inner / "a.tgz", FILES, member), member.name
    with pytest.raises(UserError) as caught:
        unpack(archive, inner / "a")
    why = "which leads out of its folder or is no plain file; nothing of it was unpacked"
    assert str(caught.value).startswith(f"{archive} holds {name!r}, {why}")
    assert seen(tmp_path) == ["downloads", "downloads/a.tgz", "secret"]


def test_names_that_lead_out_stay_inside(tmp_path: Path) -> None:
    """`zipfile` and the tar filter take such parts off, and a link in a zip becomes its text."""
    inner = tmp_path / "downloads"
    inner.mkdir()
    evil = dict.fromkeys(("../evil", "deep/../../evil", "/tmp/evil-of-the-archive"), b"evil")
    unpack(make_zip(inner / "a.zip", FILES | evil, zip_link("link")), inner / "a")
    unpack(make_tar(inner / "b.tgz", FILES | {"/tmp/evil-of-the-archive": b"evil"}), inner / "b")
    assert {path.name for path in tmp_path.iterdir()} == {"downloads"}
    assert not Path("/tmp/evil-of-the-archive").exists()
    assert not any(path.is_symlink() for path in inner.rglob("*"))
    inside = dict.fromkeys(("evil", "deep/evil", "tmp/evil-of-the-archive"), b"evil")
    assert content(inner / "a") == FILES | inside | {"link": b"/etc/passwd"}


def test_a_damaged_archive(tmp_path: Path) -> None:
    def patched(whole: bytes, at: int, new: bytes) -> bytes:
        return whole[:at] + new + whole[at + len(new) :]

    many = {str(i): bytes([i]) * 9000 for i in range(99)}
    good, plain = (make_tar(tmp_path / name, many).read_bytes() for name in ("good.tgz", "good.tar"))
    zipped = make_zip(tmp_path / "good.zip", FILES).read_bytes()
    blocks = 5 * (1 + 18) * 512  # where the sixth header begins
    broken = patched(plain, blocks, b"\xff" * 512)
    directory = zipped.index(b"PK\x01\x02")
    cases = {
        "short.tgz": good[: len(good) // 2],
        "checksum.tgz": patched(good, len(good) - 8, b"\0\0\0\0"),
        "broken.tgz": gzip.compress(broken),
        "broken.tar": broken,
        "short.tar": plain[:blocks],
        **{f"none.{ending}": b"no archive at all" for ending in ("tgz", "tar", "zip")},
        "short.zip": zipped[:-30],
        "turned.zip": patched(zipped, 45, b"\xff\xff\xff"),
        "secret.zip": patched(zipped, directory + 8, b"\x01"),  # the first member marked as encrypted
        "strange.zip": patched(zipped, directory + 10, b"\x63"),  # packed in a way that does not exist
    }
    for name, bytes_ in cases.items():
        archive = tmp_path / name
        archive.write_bytes(bytes_)
        with pytest.raises(UserError) as caught:
            unpack(archive, tmp_path / "out")
        assert str(caught.value).startswith(f"{archive} is damaged or not such an archive ("), name
        assert str(caught.value).endswith("); remove it and run the same command again.")
    assert seen(tmp_path) == sorted(["good.tgz", "good.tar", "good.zip", *cases])


def test_interrupted_it_leaves_nothing_and_starts_anew(tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    archive = make_tar(tmp_path / "a.tgz", FILES)
    with pytest.raises(KeyboardInterrupt):
        unpack(archive, tmp_path / "a", interrupt)
    assert seen(tmp_path) == ["a.tgz"]
    (tmp_path / ".a.part").mkdir()  # as a process that was killed leaves it
    (tmp_path / ".a.part" / "half.txt").write_text("half")
    unpack(archive, tmp_path / "a")
    assert content(tmp_path / "a") == FILES


@pytest.mark.parametrize("ending", [".tgz", ".zip"])
def test_a_write_that_fails(tmp_path: Path, ending: str) -> None:
    archive = packed(tmp_path / f"a{ending}", FILES)
    with files_no_larger_than(1000), pytest.raises(UserError) as caught:
        unpack(archive, tmp_path / "a")
    where = f"cannot unpack {archive} to {tmp_path / 'a'}: File too large"
    assert str(caught.value) == f"{where}; make room there, or name another folder with --data DIR."
    assert seen(tmp_path) == [archive.name]
