"""The run folder: atomic writes, step cache, lock."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstart import store
from headstart.errors import ResourceError, UsageError
from headstart.store import Run, decode, encode, fingerprint, read_step, write_atomic, write_json
from headstart.types import Examples, LinearHead, RankedSource, Ranking

HEAD = LinearHead("ridge", np.eye(2, 3, dtype=np.float32), np.zeros(2, np.float32), 0.5, 1.0)
RANKING = Ranking((RankedSource("a", -0.5, 0.1, {"x": -0.5}), RankedSource("b", None, None, error="gone")), "a", 10)


@pytest.mark.parametrize(
    "value", [HEAD, RANKING, {"a": (1, 2.5, None, "x", True)}, float("inf"), np.arange(6).reshape(2, 3)]
)
def test_what_is_encoded_comes_back(value):
    arrays: dict[str, np.ndarray] = {}
    tree = json.loads(json.dumps(encode(value, arrays)))
    again = decode(tree, arrays)
    assert fingerprint(again) == fingerprint(value)
    assert type(again) is type(value)


def test_decode_makes_records_of_our_own_only():
    with pytest.raises(ValueError, match="unknown record 'Popen'"):
        decode({"__record__": "Popen", "args": ["true"]}, {})


def test_fingerprint_sees_every_array_byte_and_dtype():
    prints = {
        fingerprint(np.zeros(3, np.float32)),
        fingerprint(np.zeros(3, np.float64)),
        fingerprint(np.zeros((3, 1), np.float32)),
    }
    changed = np.zeros(3, np.float32)
    changed[2] = 1e-30
    assert len(prints | {fingerprint(changed)}) == 4


def test_examples_fingerprint_sees_targets_contents_and_names():
    table = Examples("text", ("a", "b"), ("row 1", "row 2"), ("00", "11"), np.array([0, 1]))
    others = [
        replace(table, targets=np.array([1, 0])),
        replace(table, digests=("00", "12")),
        replace(table, ids=("row 1", "row 3")),
        replace(table, groups=("g", "g")),
    ]
    assert len({table.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, 1)
    with pytest.raises(ZeroDivisionError), write_atomic(path) as temporary:
        temporary.write_text(f"half of {1 / 0}")
    assert path.read_text() == "1\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_names_bytes_and_keeps_the_last_state(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_json(path, 1)

    def full(self, *_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ResourceError, match=r"disk full while writing .* free"):
        write_json(path, 2)
    monkeypatch.undo()
    assert path.read_text() == "1\n"


def double(values, scale=2):
    double.calls += 1
    return {"result": values * scale}


double.calls = 0


def test_a_step_runs_once_for_equal_inputs_and_again_for_others(tmp_path):
    double.calls = 0
    for values in (np.arange(3), np.arange(3), np.arange(4), np.arange(4)):
        with Run(tmp_path / "run") as run:
            found = run.step("double", double, values)
            np.testing.assert_array_equal(found["result"], values * 2)
    assert double.calls == 2
    np.testing.assert_array_equal(read_step(tmp_path / "run", "double")["result"], np.arange(4) * 2)


def test_what_is_given_does_not_decide(tmp_path):
    double.calls = 0
    for scale in (2, 3):
        with Run(tmp_path / "run") as run:
            run.step("double", double, np.arange(3), given=(scale,))
    assert double.calls == 1


@pytest.mark.parametrize("damage", ["truncate", "garbage", "no arrays"])
def test_a_damaged_step_is_computed_again(tmp_path, damage):
    double.calls = 0
    with Run(tmp_path / "run") as run:
        run.step("double", double, np.arange(3))
    record = tmp_path / "run" / "steps" / "double.json"
    arrays = next(record.parent.glob("*.safetensors"))
    if damage == "truncate":
        arrays.write_bytes(arrays.read_bytes()[:20])
    elif damage == "garbage":
        record.write_text("{")
    else:
        arrays.unlink()
    with Run(tmp_path / "run") as run:
        np.testing.assert_array_equal(run.step("double", double, np.arange(3))["result"], [0, 2, 4])
    assert double.calls == 2


def test_a_step_whose_file_is_gone_runs_again(tmp_path):
    double.calls = 0
    made = tmp_path / "made"
    for _ in range(2):
        with Run(tmp_path / "run") as run:
            run.step("double", double, np.arange(3), made=(made,))
    made.touch()
    with Run(tmp_path / "run") as run:
        run.step("double", double, np.arange(3), made=(made,))
    assert double.calls == 2


def test_two_writers_are_refused(tmp_path):
    with Run(tmp_path / "run"), pytest.raises(UsageError, match="another process is writing"):
        Run(tmp_path / "run")
    Run(tmp_path / "run").close()


def test_a_folder_of_something_else_is_not_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(UsageError, match="not a run folder"):
        Run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_run_of_another_format_is_refused(tmp_path):
    write_json(tmp_path / "run" / "run.json", {"format": store.FORMAT + 1})
    with pytest.raises(UsageError, match="is a run of format 2, this version reads 1"):
        Run(tmp_path / "run")
