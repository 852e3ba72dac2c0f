"""Pickles read as data: what NumPy and torch write comes back, and nothing that a pickle says is ever run."""

import collections
import io
import os
import pickle
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from datasets import inert


def npy(value: object) -> bytes:
    """The pickle inside a file of `numpy.save`."""
    file = io.BytesIO()
    np.save(file, np.array(value, dtype=object), allow_pickle=True)
    content = file.getvalue()
    return content[10 + int.from_bytes(content[8:10], "little") :]


PLAIN = {
    "numbers": [0, 255, 65535, -1, 2**31 - 1, 0.5, True, False, None],
    "text": ["", "ä" * 70, "\U0001f600", "x" * 300],
    "bytes": [b"", b"ab" * 200],
    "nested": [{"a": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4))}, [[]]],
}


@pytest.mark.parametrize("protocol", [3, 4])
def test_plain_data_come_back(protocol: int) -> None:
    assert inert.load(pickle.dumps(PLAIN, protocol)) == PLAIN
    many = {str(i): [str(i)] * 3 for i in range(3000)}  # memo entries above 255, several batches of items
    assert inert.load(pickle.dumps(many, protocol)) == many
    assert inert.load(npy({"a": [np.str_("2008_000002"), np.str_("ä\U0001f600")]})) == {
        "a": ["2008_000002", "ä\U0001f600"]
    }
    for module in (b"numpy._core.multiarray", b"numpy.core.multiarray"):  # as NumPy 2 and 1 name it
        old = pickle.dumps({"a": [np.str_("b")]}, 3).replace(b"numpy._core.multiarray", module)
        assert module in old and inert.load(old) == {"a": ["b"]}


def test_a_text_scalar_is_decoded() -> None:
    assert inert.load(scalar("U3", "aß".encode("utf-32-le") + bytes(4))) == "aß"
    with pytest.raises(ValueError, match="decode"):
        inert.load(scalar("U1", b"\xff\xff\xff\xff"))


def test_shared_values_are_shared() -> None:
    one = ["x"]
    value = inert.load(pickle.dumps([one, one], 4))
    assert value == [["x"], ["x"]] and value[0] is value[1]


class Reduced:
    """Pickles as any call at all."""

    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self) -> object:
        return self.call


class WithState:
    def __init__(self) -> None:
        self.state = "x"

    def __setstate__(self, state: object) -> None:
        raise AssertionError("run")


def scalar(kind: str, raw: bytes) -> bytes:
    """A NumPy scalar with any type and content."""
    dtype = pickle.dumps(np.dtype(kind), 3)[2:-1]
    return b"\x80\x03cnumpy.core.multiarray\nscalar\n" + dtype + b"C" + bytes([len(raw)]) + raw + b"\x86R."


def persistent() -> bytes:
    class Pickler(pickle.Pickler):
        def persistent_id(self, value: object) -> str | None:
            return "id" if value == "away" else None

    file = io.BytesIO()
    Pickler(file, 4).dump(["away"])
    return file.getvalue()


def attacks(trace: Path) -> dict[str, tuple[bytes, str]]:
    """{what: (pickle, how it is refused)}; those that `pickle` would run leave the file `trace` behind."""
    touch = f"open({str(trace)!r}, 'w').close()"
    return {
        "os.system": (pickle.dumps(Reduced(os.system, (f"touch {trace}",)), 4), r"'posix\.system', which is"),
        "eval": (pickle.dumps(Reduced(eval, (touch,)), 3), r"'builtins\.eval', which is code"),
        "exec, protocol 0": (f"c__builtin__\nexec\n(V{touch}\ntR.".encode(), "which is code"),
        "a list item": (pickle.dumps({"a": [np.str_("b"), Reduced(exec, (touch,))]}, 4), "which is code"),
        "unknown global": (pickle.dumps(Reduced(collections.OrderedDict, ()), 3), r"OrderedDict', which is"),
        "setstate": (pickle.dumps(WithState(), 2), "which is code"),
        "getattr": (pickle.dumps(Reduced(getattr, (np.str_("a"), "upper")), 4), r"getattr', which is code"),
        "INST": (f"(S{touch!r}\ni__builtin__\neval\n.".encode(), "holds STRING, which no plain data need"),
        "OBJ": (b"(c__builtin__\neval\nVx\no.", r"'__builtin__\.eval', which is code"),
        "NEWOBJ of a known name": (b"\x80\x02cnumpy\nndarray\n)\x81.", "holds NEWOBJ, which"),
        "extension": (b"\x80\x02\x82\x01.", "holds EXT1, which"),
        "persistent id": (persistent(), "holds BINPERSID, which"),
        "another submodule": (b"\x80\x03cnumpy.core.multiarray\nscalar.__globals__\n.", "which is code"),
        "dotted global": (b"\x80\x04\x8c\x05numpy\x8c\x0edtype.__init__\x93.", "which is code"),
        "a number called": (b"\x80\x02K\x01)R.", "damaged"),
        "a made value called": (pickle.dumps(np.dtype("U3"), 3)[:-1] + b")R.", "damaged"),
        "state of a list": (b"\x80\x02])b.", "damaged"),
        "state of a name": (b"\x80\x02cnumpy\ndtype\n)b.", "damaged"),
        "a state that is no tuple": (pickle.dumps(np.dtype("U3"), 3)[:-1] + b"}b.", "damaged"),
        "an object scalar": (scalar("O", b"a"), "not text"),
        "a number scalar": (pickle.dumps({"a": np.float64(0.5)}, 3), "not text"),
        "a big-endian scalar": (scalar(">U1", "a".encode("utf-32-be")), "not text"),
        "another encoding": (b"\x80\x02c_codecs\nencode\nX\x01\0\0\0aX\x05\0\0\0rot13\x86R.", "damaged"),
        "a long text": (pickle.dumps(np.str_("x" * 101), 3), "more than 100 characters"),
        "numeric keys": (pickle.dumps({1: 2}, 3), "damaged"),
        "a key twice": (b"\x80\x02}(X\x01\0\0\0aNX\x01\0\0\0aNu.", "gives a key twice"),
        "a key again": (b"\x80\x02}X\x01\0\0\0aNsX\x01\0\0\0aNs.", "gives a key twice"),
        "an odd dict": (b"\x80\x02}(X\x01\0\0\0au.", "gives a key twice"),
        "no mark": (b"\x80\x02]N\x65.", "damaged"),
        "an empty stack": (b"\x80\x02.", "damaged"),
        "too few": (b"\x80\x02N\x87.", "damaged"),
        "an empty memo": (b"\x80\x02h\x05.", "damaged"),
        "an append to a tuple": (b"\x80\x02)Na.", "damaged"),
        "POP": (b"\x80\x02NN0.", "holds POP, which"),
        "no end": (b"\x80\x02N", "exhausted"),
        "no pickle": (b"\xff\xfe", "unknown"),
        "nothing": (b"", "exhausted"),
    }  # fmt: skip


@pytest.mark.parametrize("what", attacks(Path("trace")))
def test_nothing_is_run(what: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    content, message = attacks(trace)[what]
    with pytest.raises(ValueError, match=message):
        inert.load(content)
    assert not trace.exists()


def test_the_attacks_are_real(tmp_path: Path) -> None:
    """`pickle` itself runs them: what the test above would miss if nothing was there to be run."""
    for what in ("os.system", "eval", "exec, protocol 0", "a list item"):
        trace = tmp_path / what
        pickle.loads(attacks(trace)[what][0])
        assert trace.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02Nr\xff\xff\xff\xff.",  # a memo entry of number 2^32 - 1
        b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",  # a frame of 4 EiB
        b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.",  # bytes of 1 TiB
        b"\x80\x03B" + struct.pack("<I", 2**32 - 1) + b"x.",
        b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"x.",  # a bytearray
        b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",  # an integer of 2 GiB
        b"\x80\x02]" + b"(h\x00h\x00e" * 50 + b".",  # doubling
        b"\x80\x02]q\x00" + b"(h\x00h\x00e" * 500 + b".",  # a list that holds itself a thousand times
        b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".",  # deep nesting
    ],
)
def test_large_numbers_claim_no_memory(content: bytes) -> None:
    tracemalloc.start()
    try:
        inert.load(content)
    except ValueError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 64 * 2**20
