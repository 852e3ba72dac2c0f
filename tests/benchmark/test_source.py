"""The hash of a method's code: what moves it, and what must not."""

import json
import re
from pathlib import Path

import pytest

from benchmark.files import read_toml
from benchmark.spec import registry, source
from benchmark.spec.source import class_values, code_hash, equal_code, imported_files
from methods import losses
from tests.conftest import ROOT
from tests.methods.equal_code import listed, numbers

CODE = '''
"""A method."""

import math
from os import path as p

WIDTH = 4  # channels


class Net:
    """A network."""

    rate: float = 0.5

    def forward(self, x):
        """Run it."""
        import cmath

        return f"{x:.2f}", None, cmath.pi * WIDTH - math.pi
'''

SAME = {
    "comment": ("# channels", "# how many channels there are"),
    "docstring of the module": ('"""A method."""\n', ""),
    "docstring of a class": ('"""A network."""', '"""Layers.\n\n    And more.\n    """'),
    "docstring of a function": ('        """Run it."""\n', ""),
    "docstring of an attribute": ("rate: float = 0.5\n", 'rate: float = 0.5\n    """Per step."""\n'),
    "moved import": ("from os import path as p", "from posix import path as p"),
    "another import": ("import math\n", "from __future__ import annotations\n\nimport math\nimport sys\n"),
    "import for types alone": ("import math\n", "import math\nif TYPE_CHECKING:\n    from a import B\n"),
    "import within a function": ("        import cmath\n", "        from other import cmath\n"),
    "layout": ("cmath.pi * WIDTH - math.pi", "(\n            (cmath.pi * WIDTH)\n            - math.pi)"),
    "quotes": ('f"{x:.2f}"', "f'{x:.2f}'"),
}

OTHER = {
    "constant": ("WIDTH = 4", "WIDTH = 5"),
    "type of a constant": ("WIDTH = 4", "WIDTH = 4.0"),
    "default": ("rate: float = 0.5", "rate: float = 0.25"),
    "name": ("forward", "backward"),
    "operator": ("* WIDTH", "/ WIDTH"),
    "order": ("cmath.pi * WIDTH - math.pi", "math.pi - cmath.pi * WIDTH"),
    "none": ("None", "0"),
    "format": (".2f", ".3f"),
    "text that is used": ("None", "'None'"),
    "condition": ("WIDTH = 4", "if p:\n    WIDTH = 4"),
    "statement": ("        import cmath\n", "        import cmath\n        x += 1\n"),
}


@pytest.mark.parametrize("edit", [*SAME, *OTHER])
def test_what_may_decide_a_number_moves_the_hash_and_nothing_else(edit: str) -> None:
    old, new = (SAME | OTHER)[edit]
    assert CODE.count(old) == 1 and not SAME.keys() & OTHER.keys()
    assert (code_hash([CODE.replace(old, new)]) == code_hash([CODE])) == (edit in SAME)


def test_it_is_of_the_code_alone() -> None:
    """The same under every version of Python, since runs of several machines share a row."""
    assert code_hash([CODE]) == "d7cddf22d966"
    assert code_hash([CODE, "x = 1"]) == code_hash(["x = 1", CODE]) != code_hash([CODE])


def test_a_module_that_is_moved_is_the_same_source(tmp_path: Path) -> None:
    package = tmp_path / "methods"
    (package / "blocks").mkdir(parents=True)
    mine = (
        "{}\nfrom methods.base import Base\nclass Mine(Base):\n    summary = 'mine'\n    version: int = 2\n"
    )
    contents = {
        "base": "class Base:\n    paper = 'P'\n    summary = 'base'\n",
        "mine": mine.format("from methods.block import Block"),
        "moved": mine.format("from methods.blocks import inner"),
        "other": mine.format("from methods.wider import Block"),
        "block": "class Block:\n    width = 4\n",
        "blocks/inner": "# elsewhere\nclass Block:\n    width = 4\n",
        "wider": "class Block:\n    width = 5\n",
        "unused": "import nothing\n",
    }
    for name, text in contents.items():
        (package / f"{name}.py").write_text(text)

    def hashed(name: str) -> str:
        files = imported_files(package / f"{name}.py", package)
        assert len(files) == 3
        return code_hash(file.read_text() for file in files)

    assert hashed("mine") == hashed("moved") != hashed("other")
    said = class_values(package / "mine.py", package, ("version", "summary", "paper"))
    assert said == {"summary": "mine", "version": 2, "paper": "P"}


def test_hashes_of_equal_code_are_of_methods_and_in_one_list_each() -> None:
    for name, lists in read_toml(ROOT / "methods" / "equal_code.toml").items():
        assert name in registry.method_names()
        hashes = [each for listed in lists for each in listed]
        assert all(re.fullmatch("[0-9a-f]{12}", each) for each in hashes) and len(hashes) == len({*hashes})
        assert min(map(len, lists)) > 1


def test_equal_code_is_one_source_and_is_found_by_running_it(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c, d, e = (letter * 12 for letter in "abcdf")
    known = {"m": [[b, a], [d, c]]}
    monkeypatch.setattr(source, "_equal_code", lambda: known)
    assert equal_code("m", a) == equal_code("m", b) == {a, b} and equal_code("m", e) == {e}
    listed(known, "m", a, e)
    assert known == {"m": [[e, a, b], [d, c]]}
    listed(known, "m", c, b)
    assert json.dumps(numbers(["multi_task"])) == (first := json.dumps(numbers(["multi_task"])))
    monkeypatch.setattr(losses, "EDGE_POSITIVE_WEIGHT", 0.95 + 1e-15)
    assert json.dumps(numbers(["multi_task"])) != first
    assert {*known["m"][0]} == {a, b, c, d, e} and not known["m"][1:] and equal_code("n", a) == {a}


def test_what_methods_say_of_themselves_is_read_as_it_is() -> None:
    for name in registry.method_names():
        kind = registry.method(name)
        assert registry.describe(name) == (kind.version, kind.summary, kind.paper)
