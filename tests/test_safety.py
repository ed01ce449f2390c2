from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from headstart import safety
from headstart.errors import BundleRefused


def packed(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def said(value: object) -> str:
    return value if isinstance(value, str) else ""


# --- JSON ----------------------------------------------------------------------------------


NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(max_size=5), VALUES))
def test_json_reads_what_json_writes(value: dict[str, Any]) -> None:
    assert safety.strict_json(json.dumps(value, ensure_ascii=False).encode(), "x") == value
    assert safety.strict_json(json.dumps(value).encode(), "x") == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"a":1,"a":2}', "'a' more than once"),
        (b'{"b":{"a":1,"\\u0061":2}}', "more than once"),
        (b'{"a":NaN}', "not finite"),
        (b'{"a":-Infinity}', "not finite"),
        (b'{"a":1e999}', "not finite"),
        (b'{"a":' + b"9" * 30 + b"}", "64 bits"),
        (b'{"a":' + b"9" * 9000 + b"}", "64 bits"),
        (b'{"a":18446744073709551616}', "64 bits"),
        (b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", "deeper"),
        (b"[" * 1_000_000, "more than"),
        (b"[" * 200_000, "deeper"),
        (b'{"a":"\\ud800"}', "Unicode"),
        (b'{"\\ud800":1}', "Unicode"),
        (b'{"a":"\xff"}', "Unicode"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b'{"a":"\n"}', "not JSON"),
        (b"[]", "not a JSON object"),
        (b"3", "not a JSON object"),
        (b'{"a":"' + b"x" * 8_000_000 + b'"}', "8,000,008 bytes"),
    ],
    ids=said,
)
def test_json_refuses(text: bytes, said: str) -> None:
    with pytest.raises(BundleRefused, match=said):
        safety.strict_json(text, "file.json")


def test_json_depth_is_exact_and_blind_to_strings() -> None:
    def nested(levels: int) -> bytes:
        return b'{"[[[[\\"[":' * levels + b'"' + b"[" * 500 + b'"' + b"}" * levels

    assert safety.strict_json(nested(100), "x")
    with pytest.raises(BundleRefused, match="deeper"):
        safety.strict_json(nested(101), "x")


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":[' + b"{}," * 149_990 + b"{}]}",
        b'{"a":[' + b"1.5," * 299_000 + b"1]}",
        b'{"a":[' + b'"",' * 299_000 + b"1]}",
        b'"' * 7_999_999,
        b'{"a":0.' + b"1" * 7_999_000 + b"}",
        b"{" + b",".join(b'"%d":1' % i for i in range(299_000)) + b',"0":1}',
    ],
    ids=["objects", "floats", "strings", "quotes", "digits", "keys"],
)
def test_json_at_its_worst_is_read_or_refused_within_a_second(text: bytes) -> None:
    begin = time.process_time()
    with contextlib.suppress(BundleRefused):
        safety.strict_json(text, "x")
    assert time.process_time() - begin < 1


# --- tensors -------------------------------------------------------------------------------


def test_table_and_arrays() -> None:
    a, b = np.arange(6, dtype="<f4").reshape(2, 3), np.array(7, "<i8")
    header = {
        "__metadata__": {"format": "pt"},
        "b": entry("I64", [], [0, 8]),
        "a": entry("F32", [2, 3], [8, 32]),
        "none": entry("F16", [0, 4], [32, 32]),
    }
    data = packed(header, b.tobytes() + a.tobytes())
    table = safety.tensor_table(data, len(data), "x")
    assert np.array_equal(safety.tensor_array(data, table["a"]), a)
    assert safety.tensor_array(data, table["b"]) == b
    assert safety.tensor_array(data, table["b"]).shape == ()
    assert safety.tensor_array(data, table["none"]).shape == (0, 4)
    assert safety.tensor_table(data[:-32], len(data), "x") == table


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "ends within"),
        (b"\0" * 7, "ends within"),
        ((10**6 + 1).to_bytes(8, "little") + b" " * (10**6 + 1), "1,000,001 bytes"),
        ((2**64 - 1).to_bytes(8, "little"), "header has"),
        (packed({})[:-1], "ends within"),
        (packed(b'{"a":1,"a":1}'), "more than once"),
        (packed(b"[]"), "not a JSON object"),
        (packed({f"t{i}": 0 for i in range(10_001)}), "10,001 tensors"),
        (packed({"__metadata__": {"a": 1}}), "__metadata__"),
        (packed({"__metadata__": "a"}), "__metadata__"),
        (packed({"a b": entry()}, b"\0" * 8), "names a tensor"),
        (packed({"": entry()}, b"\0" * 8), "names a tensor"),
        (packed({"../a": entry()}, b"\0" * 8), "names a tensor"),
        (packed({"a\n": entry()}, b"\0" * 8), "names a tensor"),
        (packed({"a" * 257: entry()}, b"\0" * 8), "names a tensor"),
        (packed({"a": 3}), "other than dtype"),
        (packed({"a": {**entry(), "code": 1}}, b"\0" * 8), "other than dtype"),
        (packed({"a": entry("F128")}, b"\0" * 8), "'F128'"),
        (packed({"a": entry(["F32"])}, b"\0" * 8), "Known: BOOL"),
        (packed({"a": entry(shape=[-2])}, b"\0" * 8), "shape"),
        (packed({"a": entry(shape=[-2, -1])}, b"\0" * 8), "shape"),
        (packed({"a": entry(shape=[2.0])}, b"\0" * 8), "shape"),
        (packed({"a": entry(shape=[True, 2])}, b"\0" * 8), "shape"),
        (packed({"a": entry(shape=2)}, b"\0" * 8), "shape"),
        (packed({"a": entry(shape=[1] * 17 + [2])}, b"\0" * 8), "shape"),
        (packed({"a": entry(shape=[2**63, 2**63, 4])}, b"\0" * 8), "bytes for its shape"),
        (packed({"a": entry(shape=[2**64 - 1] * 16)}, b"\0" * 8), "bytes for its shape"),
        (packed({"a": entry(shape=[3])}, b"\0" * 8), "bytes for its shape"),
        (packed({"a": entry(offsets=[8, 0])}, b"\0" * 8), "bytes for its shape"),
        (packed({"a": entry(offsets=[-8, 0])}, b"\0" * 8), "offsets"),
        (packed({"a": entry(offsets=[0])}, b"\0" * 8), "offsets"),
        (packed({"a": entry(offsets=[0, 8, 8])}, b"\0" * 8), "offsets"),
        (packed({"a": entry()}, b"\0" * 7), "lacks 1 bytes"),
        (packed({"a": entry()}, b"\0" * 9), "1 bytes that are of no tensor"),
        (packed({}, b"\0"), "1 bytes that are of no tensor"),
        (packed({"a": entry(offsets=[4, 12])}, b"\0" * 12), "gap"),
        (packed({"a": entry(), "b": entry(offsets=[12, 20])}, b"\0" * 20), "'b'.*gap"),
        (packed({"a": entry(), "b": entry(offsets=[4, 12])}, b"\0" * 12), "'b'.*overlaps"),
        (packed({"a": entry(), "b": entry()}, b"\0" * 8), "overlaps"),
        (packed({"a": entry(offsets=[2**60, 2**60 + 8])}, b"\0" * 8), "gap"),
    ],
    ids=said,
)
def test_table_refuses(data: bytes, said: str) -> None:
    with pytest.raises(BundleRefused, match=said):
        safety.tensor_table(data, len(data), "weights")


@pytest.mark.parametrize("name", ["F16", "F32", "F64"])
@given(data=st.data())
def test_non_finite_agrees_with_numpy(name: str, data: st.DataObject) -> None:
    array = data.draw(arrays(safety.DTYPES[name], 7))
    assert safety.non_finite(array, name) == (not np.isfinite(array).all())


def test_non_finite_bfloat16_and_bool_and_late_in_a_large_array() -> None:
    for bits, bad in ((0x7F80, True), (0xFF80, True), (0x7FC1, True), (0x7F7F, False), (0xFF7F, False), (0, False)):
        assert safety.non_finite(np.array([0, bits], "<u2").view("<i2"), "BF16") is bad
    assert safety.non_finite(np.array([0, 2], np.uint8).view(bool), "BOOL")
    assert not safety.non_finite(np.array([0, 1], np.uint8).view(bool), "BOOL")
    assert not safety.non_finite(np.full(3, -1), "I64")
    large = np.zeros(safety.CHUNK + 1, np.float32)
    assert not safety.non_finite(large, "F32")
    large[-1] = np.nan
    assert safety.non_finite(large, "F32")


# --- folders -------------------------------------------------------------------------------


def listed(folder: Path) -> dict[str, int]:
    with safety.opened(folder) as descriptor:
        return safety.listing(descriptor)


def read(folder: Path, name: str, limit: int = 100) -> bytes:
    with safety.opened(folder) as descriptor:
        return safety.read_file(descriptor, name, limit)


def test_listing_and_reading(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"abc")
    (tmp_path / "b").write_bytes(b"")
    assert listed(tmp_path) == {"a.json": 3, "b": 0}
    assert read(tmp_path, "a.json", 3) == b"abc"
    with pytest.raises(BundleRefused, match="at most 2"):
        read(tmp_path, "a.json", 2)


@pytest.mark.parametrize(
    "name", [".hidden", "a\nb", "a\x1b[31m", "a\\b", "a b", "ä", "-rf", "a" * 129, "\udcff"], ids=ascii
)
def test_names_that_are_not_plain(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(BundleRefused, match="not plain") as refusal:
        listed(tmp_path)
    assert str(refusal.value).isprintable()
    assert str(refusal.value).isascii()


def test_names_that_differ_by_case_only(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(b"")
    (tmp_path / "readme.md").write_bytes(b"")
    with pytest.raises(BundleRefused, match="upper and lower case"):
        listed(tmp_path)


def test_only_regular_files(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"secret")
    for kind, make in (
        ("a link", lambda path: path.symlink_to(target)),
        ("a link", lambda path: path.symlink_to("nowhere")),
        ("a folder", lambda path: path.mkdir()),
        ("a special file", os.mkfifo),
        ("a special file", bind),
    ):
        folder = tmp_path / f"folder-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        make(folder / "x")
        with pytest.raises(BundleRefused, match=kind):
            listed(folder)
        with pytest.raises(BundleRefused, match="regular file"):
            read(folder, "x")


def bind(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def test_too_many_entries(tmp_path: Path) -> None:
    for index in range(257):
        (tmp_path / f"f{index}").touch()
    with pytest.raises(BundleRefused, match="more than 256"):
        listed(tmp_path)


def test_a_file_that_grows_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    original = os.fstat

    def growing(descriptor: int) -> os.stat_result:
        facts = original(descriptor)
        with (tmp_path / "x").open("ab") as stream:
            stream.write(b"more")
        return facts

    monkeypatch.setattr(os, "fstat", growing)
    with pytest.raises(BundleRefused, match="changed while"):
        read(tmp_path, "x")


def test_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "none", tmp_path / "file", Path("\0")):
        with pytest.raises(BundleRefused, match="not a folder"):
            listed(path)


def test_shown_is_short_and_printable() -> None:
    assert safety.shown("a") == "'a'"
    assert safety.shown("\x1b]0;title\x07") == "'\\x1b]0;title\\x07'"
    assert len(safety.shown("x" * 1000)) == 80
