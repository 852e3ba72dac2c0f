"""Files that are read as JSON or TOML: one sentence for what is none, however it is none."""

import os
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.files import read_json, read_toml

LONG = "9" * 5000


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (read_json, b'\xef\xbb\xbf{"a": 1}', None),
        (read_toml, b"\xef\xbb\xbfa = 1", None),
        (read_json, b"[" * 100_000, "is damaged"),
        (read_toml, b"a = " + b"[" * 100_000, "is not valid TOML"),
        (read_json, b'{"a": ' + LONG.encode() + b"}", "is damaged"),
        (read_toml, b"a = " + LONG.encode(), "is not valid TOML: Exceeds the limit"),
        (read_json, b"\xff\xfe{", "is damaged"),
        (read_toml, b"\xff\xfea", "is not a text file in UTF-8"),
        (read_json, None, "could not be read: it is no plain file"),
        (read_toml, None, "could not be read: it is no plain file"),
    ],
)
def test_what_is_no_json_or_toml_is_one_sentence(read, content, message, tmp_path: Path) -> None:
    path = tmp_path / "x"
    if content is None:
        os.mkfifo(path)  # to open it would wait for ever
    else:
        path.write_bytes(content)
    if message is None:
        assert read(path) == {"a": 1}
        return
    with pytest.raises(UserError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
