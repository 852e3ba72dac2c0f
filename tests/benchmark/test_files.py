"""Files of JSON and TOML and values of a type: one sentence for what is none, with what was expected."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct

from benchmark.errors import UserError
from benchmark.files import read_json, read_toml
from benchmark.typed import convert

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


@dataclass(frozen=True)
class Inner:
    size: Annotated[int, Meta(ge=1)] = 1
    mode: Literal["fast", "slow"] = "fast"
    parts: dict[str, list[float]] = field(default_factory=dict)


class Outer(Struct, forbid_unknown_fields=True):
    inner: Inner
    name: str | None = None


@pytest.mark.parametrize(
    ("value", "kind", "wanted"),
    [
        ({"inner": {"parts": {"a": [1]}}}, Outer, Outer(Inner(parts={"a": [1.0]}))),
        (6, float, 6.0),
        (0.5, Literal[0.5, 1.0], 0.5),
        ([1, 2], tuple[int, ...], (1, 2)),
    ],
)
def test_a_value_comes_back_as_its_type(value: Any, kind: Any, wanted: Any) -> None:
    found = convert(value, kind, "a file")
    assert found == wanted and type(found) is type(wanted)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ({"inner": {"size": 0}}, Outer, "inner.size is 0; expected a whole number >= 1; mend it."),
        ({"inner": {"mode": "fsat"}}, Outer, "unknown inner.mode 'fsat'; did you mean 'fast'?"),
        ({"inner": {"parts": {"a": [1.0, "x"]}}}, Outer, "inner.parts.a.1 is 'x'; expected a number, got a"),
        ({"name": "x"}, Outer, "inner is missing; mend it."),
        ({"inner": {}, "nmae": "x"}, Outer, "unknown key 'nmae'; did you mean 'name'?"),
        ({"inner": {}, "name": 3}, Outer, "name is 3; expected a text or none, got a whole number"),
        (True, float, "key is True; expected a number, got true or false"),
        (2.0, Literal[0.5, 1.0], "key is 2.0; expected one of 0.5, 1.0; mend it."),
        (float("nan"), Annotated[float, Meta(ge=0)], "key is nan; expected a number >= 0"),
    ],
)
def test_the_innermost_value_is_named(value: Any, kind: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        convert(value, kind, "a file", "mend it", "" if kind is Outer else "key")
    assert str(caught.value).startswith(f"a file: {message}") and "\n" not in str(caught.value)
