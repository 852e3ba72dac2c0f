"""The hash of a method's code: what moves it, and what must not."""

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.spec import registry
from benchmark.spec.source import code_hash

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


@pytest.mark.parametrize("edit", SAME)
def test_what_decides_no_number_keeps_the_hash(edit: str) -> None:
    assert CODE.count(SAME[edit][0]) == 1
    assert code_hash([CODE.replace(*SAME[edit])]) == code_hash([CODE])


@pytest.mark.parametrize("edit", OTHER)
def test_what_may_decide_one_moves_it(edit: str) -> None:
    assert CODE.count(OTHER[edit][0]) == 1
    assert code_hash([CODE.replace(*OTHER[edit])]) != code_hash([CODE])


def test_it_is_of_the_code_alone() -> None:
    """The same under every version of Python, since runs of several machines share a row."""
    assert code_hash([CODE]) == "d7cddf22d966"
    assert code_hash([CODE, "x = 1"]) == code_hash(["x = 1", CODE]) != code_hash([CODE])


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package of methods with a folder more, of a test's own, in which its modules are found."""
    import methods

    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]
    registry.source_hash.cache_clear()


def source(tree: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], name: str) -> str:
    for old in tree.glob("*.py"):
        old.unlink()
        sys.modules.pop(f"methods.{old.stem}", None)
    for stem, text in files.items():
        (tree / f"{stem}.py").write_text(textwrap.dedent(text))
    monkeypatch.setattr(registry, "_names", lambda _: [name])
    registry.source_hash.cache_clear()
    return registry.source_hash(name)


def test_a_module_that_is_moved_is_the_same_source(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = """
        from methods.{block} import Block
        from methods.multi_task import MultiTask


        class Mine(MultiTask):
            block = Block
        """
    block = "class Block:\n    width = 4\n"
    first = source(tree, monkeypatch, {"mine": mine.format(block="block_a"), "block_a": block}, "mine")
    moved = source(
        tree,
        monkeypatch,
        {"mine_2": mine.format(block="z_block"), "z_block": "# elsewhere\n" + block},
        "mine_2",
    )
    other = source(
        tree, monkeypatch, {"mine": mine.format(block="block_a"), "block_a": block.replace("4", "5")}, "mine"
    )
    assert re.fullmatch(r"[0-9a-f]{12}", first) and first == moved != other
