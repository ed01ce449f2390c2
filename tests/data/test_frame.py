from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from headstart.data import read
from headstart.data.frame import from_arrays, from_frame, is_frame, read_saved_dataset
from headstart.errors import DataError, UsageError

Photo = Callable[..., Path]
FEATURES = {
    "text": {"dtype": "string", "_type": "Value"},
    "label": {"names": ["no", "yes"], "_type": "ClassLabel"},
}


def save_dataset(folder: Path, columns: dict[str, Any], features: dict[str, Any], shards: int = 1) -> Path:
    """A dataset as Hugging Face's ``save_to_disk`` lays it out."""
    folder.mkdir(parents=True)
    table = pa.table(columns)
    names = [f"data-{shard:05}-of-{shards:05}.arrow" for shard in range(shards)]
    size = -(-table.num_rows // shards)
    for shard, name in enumerate(names):
        part = table.slice(shard * size, size)
        with pa.OSFile(str(folder / name), "wb") as stream, pa.ipc.new_stream(stream, table.schema) as writer:
            writer.write_table(part)
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": name} for name in names], "_split": None})
    )
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    return folder


class DataFrame:
    """What polars offers, as far as reading goes."""

    def __init__(self, cells: dict[str, list[Any]]) -> None:
        self.columns = list(cells)
        self._cells = cells

    def __len__(self) -> int:
        return len(self._cells[self.columns[0]])

    def __getitem__(self, name: str) -> Any:
        cells = self._cells[name]
        return type("Series", (), {"to_list": lambda _: list(cells)})()


CELLS = {"text": ["a", "b", None, "NA"], "label": ["x", "y", "x", None]}


@pytest.mark.parametrize("make", [pd.DataFrame, DataFrame, pa.table])
def test_frames(make: Callable[..., Any]) -> None:
    frame = make(CELLS)
    assert is_frame(frame)
    dataset = read(frame)
    assert dataset.examples.inputs == ("a", "b", "NA")
    assert dataset.examples.ids == ("row 1", "row 2", "row 4")
    assert dataset.examples.targets.tolist() == [0, 1, -1]
    assert {item.id: item.reason for item in dataset.excluded} == {"row 3": "empty text", "row 4": "no label"}


def test_pandas_frame_with_its_own_index_and_kinds_of_cells() -> None:
    frame = pd.DataFrame(
        {"text": ["a", "b", "c", "d"], "label": pd.Categorical(["x", "y", "x", None])}, index=[7, 7, 3, 1]
    )
    before = frame.copy()
    assert read(frame).examples.targets.tolist() == [0, 1, 0, -1]
    assert read(frame.assign(label=pd.array([1, 2, 1, None], dtype="Int64"))).task.labels == ("1", "2")
    assert read(frame.assign(label=[1.0, 2.0, 1.0, np.nan])).task.labels == ("1", "2")
    pd.testing.assert_frame_equal(frame, before)


def test_frame_with_numbers_as_column_names() -> None:
    assert read(pd.DataFrame({0: ["a", "b"], 1: ["x", "y"]}), input="0", label="1").task.labels == ("x", "y")


def test_frames_that_cannot_be_read() -> None:
    with pytest.raises(DataError, match="several columns of one name"):
        from_frame(pd.DataFrame([["a", "b"]], columns=["text", "text"]))
    with pytest.raises(DataError, match="the frame has no rows"):
        read(pd.DataFrame({"text": [], "label": []}))
    with pytest.raises(DataError, match="the table has no rows"):
        read(pa.table({"text": pa.array([], pa.string()), "label": pa.array([], pa.string())}))
    assert not is_frame({"text": ["a"]})


@pytest.mark.parametrize("wrap", [list, tuple, np.array, lambda x: np.array(x, object), pd.Series])
def test_texts_and_labels(wrap: Callable[..., Any]) -> None:
    dataset = read((wrap(["a", "b", "", "c"]), wrap(["x", "y", "x", "y"])))
    assert dataset.examples.inputs == ("a", "b", "c")
    assert type(dataset.examples.inputs[0]) is str
    assert dataset.examples.targets.tolist() == [0, 1, 1]
    assert dataset.examples.ids == ("row 1", "row 2", "row 4")
    assert dataset.task.modality == "text"


def test_columns_of_one() -> None:
    frame = pd.DataFrame({"t": ["a", "b"]})
    assert read((frame, np.array([["x"], ["y"]]))).examples.inputs == ("a", "b")
    assert read((np.array([["a"], ["b"]], object), [1, 2])).examples.inputs == ("a", "b")
    with pytest.raises(DataError, match="X is a frame of 2 columns"):
        read((pd.DataFrame({"t": ["a"], "u": ["b"]}), [1]))


def test_images_and_labels(tmp_path: Path, photo: Photo) -> None:
    paths = [photo(tmp_path / f"{number}.png", number) for number in range(3)]
    for inputs in (paths, [str(path) for path in paths], np.array([str(path) for path in paths])):
        dataset = read((inputs, ["x", "y", "x"]))
        assert dataset.examples.inputs == tuple(paths)
        assert dataset.examples.ids == tuple(path.as_posix() for path in paths)
        assert dataset.task.modality == "image"
    pictures = [Image.open(path) for path in paths]
    assert read((pictures, ["x", "y", "x"])).examples.inputs == tuple(pictures)
    pixels = np.zeros((3, 8, 9, 3), np.uint8)
    assert [image.size for image in read((pixels, ["x", "y", "x"])).examples.inputs] == [(9, 8)] * 3
    twice = read(([paths[0], paths[0], paths[1]], ["x", "x", "y"])).examples.ids
    assert twice[1] == f"{paths[0].as_posix()} (2)"


def test_strings_that_look_like_files_are_texts_unless_they_are_there_or_asked(tmp_path: Path, photo: Photo) -> None:
    assert read((["a.png", "b.png"], ["x", "y"])).task.modality == "text"
    photo(tmp_path / "a.png")
    paths = [str(tmp_path / "a.png"), str(tmp_path / "b.png"), str(tmp_path / "a.png")]
    dataset = read((paths, ["x", "y", "y"]))
    assert [item.reason for item in dataset.excluded] == ["file does not exist"]
    assert read((paths, ["x", "y", "y"]), modality="text").task.modality == "text"
    with pytest.raises(DataError, match="none of the 2 examples"):
        read((["a.png", "b.png"], ["x", "y"]), modality="image")


def test_two_dimensional_labels_are_multilabel() -> None:
    dataset = read((["a", "b", "c"], np.array([[1, 0], [1, 1], [0, 0]])))
    assert dataset.task.problem == "multilabel"
    assert dataset.task.labels == ("0", "1")
    np.testing.assert_array_equal(dataset.examples.targets, [[True, False], [True, True], [False, False]])
    with pytest.raises(DataError, match=r"y has shape \(2, 2\)"):
        read((["a", "b"], np.array([[0.5, 1], [2, 3]])))


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (["a", "b"], ["x"], "X has 2 examples but y has 1 labels"),
        ([], [], "X is empty"),
        ("text", ["x"], "X is a str; expected a list or array"),
        (["a"], None, "y is a NoneType; expected a list or array"),
        ([1, 2], ["x", "y"], "X holds 'int'; expected texts, paths"),
    ],
)
def test_pairs_that_do_not_fit(inputs: Any, labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_arrays(inputs, labels)


def test_saved_dataset(tmp_path: Path) -> None:
    columns = {"text": ["a", "b", "c", "d", "e"], "label": [0, 1, 1, -1, 0]}
    dataset = read(save_dataset(tmp_path / "saved", columns, FEATURES, shards=2))
    assert dataset.task.labels == ("no", "yes")
    assert dataset.examples.targets.tolist() == [0, 1, 1, -1, 0]
    assert dataset.given is None


def test_saved_dataset_with_splits(tmp_path: Path) -> None:
    root = tmp_path / "saved"
    for name, texts in {"train": ["a", "b"], "validation": ["c"], "test": ["d"], "unsupervised": ["e"]}.items():
        save_dataset(root / name, {"text": texts, "label": [0, 1][: len(texts)]}, FEATURES)
    (root / "dataset_dict.json").write_text('{"splits": ["train", "validation", "test", "unsupervised"]}')
    dataset = read(root)
    assert dataset.given == ("train", "train", "validation", "test")
    assert dataset.examples.ids[-1] == "test row 1"
    assert any("Not read: the splits 'unsupervised'" in note for note in dataset.notes)


def test_saved_images(tmp_path: Path, photo: Photo) -> None:
    data = [photo(tmp_path / f"{number}.png", number).read_bytes() for number in range(3)]
    cells = [
        {"bytes": data[0], "path": None},
        {"bytes": data[1], "path": "x.png"},
        {"bytes": None, "path": str(tmp_path / "2.png")},
        {"bytes": b"junk", "path": None},
        None,
    ]
    dataset = read(save_dataset(tmp_path / "saved", {"image": cells, "label": [0, 1, 0, 1, 0]}, FEATURES))
    assert dataset.task.modality == "image"
    assert len(dataset.examples) == 3
    assert [item.id for item in dataset.excluded] == ["row 4", "row 5"]
    assert dataset.excluded[1].reason == "no image"
    assert dataset.examples.inputs[1].tobytes() == Image.open(io.BytesIO(data[1])).tobytes()


def test_saved_multilabel_classes(tmp_path: Path) -> None:
    features = {"label": {"feature": FEATURES["label"], "_type": "Sequence"}}
    dataset = read(save_dataset(tmp_path / "saved", {"text": ["a", "b"], "label": [[0, 1], [0]]}, features))
    assert dataset.task.labels == ("no", "yes")
    assert dataset.examples.targets.tolist() == [[True, True], [True, False]]


def test_broken_saved_datasets(tmp_path: Path) -> None:
    root = save_dataset(tmp_path / "saved", {"text": ["a"], "label": [0]}, FEATURES)
    shard = next(root.glob("*.arrow"))
    shard.write_bytes(b"not arrow")
    with pytest.raises(DataError, match=r"cannot read .*\.arrow"):
        read(root)
    shard.unlink()
    with pytest.raises(DataError, match=r"cannot read .*\.arrow"):
        read(root)
    for content, message in (
        ("{", "is not JSON"),
        ("[]", "does not hold an object"),
        ('{"_data_files": []}', "names no data files"),
        ('{"_data_files": [{"filename": "../../etc/passwd"}]}', r"cannot read .*saved/passwd"),
    ):
        (root / "state.json").write_text(content)
        with pytest.raises(DataError, match=message):
            read_saved_dataset(root)
    (root / "dataset_dict.json").write_text('{"splits": ["a", "b"]}')
    with pytest.raises(DataError, match="names the splits 'a', 'b'; expected train, validation or test"):
        read(root)
    (root / "dataset_dict.json").write_text('{"splits": ["train"]}')
    with pytest.raises(DataError, match=r"cannot read .*state\.json.*is the dataset complete"):
        read(root)


def test_saved_dataset_without_rows(tmp_path: Path) -> None:
    empty = {"text": pa.array([], pa.string()), "label": pa.array([], pa.int64())}
    with pytest.raises(DataError, match="has no rows"):
        read(save_dataset(tmp_path / "saved", empty, FEATURES))


@pytest.mark.parametrize("data", [7, {"text": ["a"]}, None, (["a"], ["b"], ["c"])])
def test_other_data_are_refused(data: Any) -> None:
    with pytest.raises(UsageError, match="cannot read data of type"):
        read(data)
