from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstart.data import folder as folders
from headstart.data import read
from headstart.errors import DataError

Photo = Callable[..., Path]


@pytest.fixture
def animals(tmp_path: Path, photo: Photo) -> Path:
    for number, name in enumerate(["cat/1.png", "cat/old/2.jpg", "dog/1.png", "dog/2.webp"]):
        photo(tmp_path / "animals" / name, number)
    return tmp_path / "animals"


def labels_of(root: Path) -> dict[str, str]:
    dataset = read(root)
    return {
        name: "" if target < 0 else dataset.task.labels[target]
        for name, target in zip(dataset.examples.ids, dataset.examples.targets, strict=True)
    }


def reasons_of(root: Path) -> dict[str, str]:
    return {item.id: item.reason for item in read(root).excluded}


def test_class_folders_are_read_however_deep(animals: Path) -> None:
    assert labels_of(animals) == {"cat/1.png": "cat", "cat/old/2.jpg": "cat", "dog/1.png": "dog", "dog/2.webp": "dog"}
    dataset = read(str(animals))
    assert dataset.given is None
    assert dataset.task.modality == "image"
    assert dataset.examples.inputs[0] == animals / "cat/1.png"
    assert dataset.excluded == ()
    assert any("class folders" in note for note in dataset.notes)


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev"])
def test_split_folders_stand_above_class_folders(tmp_path: Path, photo: Photo, name: str) -> None:
    for number, path in enumerate(
        ["Train/a/1.png", "Train/b/1.png", f"{name}/a/1.png", "test/a/1.png", "test/b/1.png"]
    ):
        photo(tmp_path / path, number)
    dataset = read(tmp_path)
    given = dict(zip(dataset.examples.ids, dataset.given or (), strict=True))
    assert given["Train/a/1.png"] == "train"
    assert given[f"{name}/a/1.png"] == "validation"
    assert given["test/b/1.png"] == "test"
    assert dataset.task.labels == ("a", "b")


def test_class_folders_beside_split_folders_are_not_said(tmp_path: Path, photo: Photo) -> None:
    for number, path in enumerate(["a/1.png", "b/1.png", "test/a/1.png", "test/b/1.png", "notes/1.png"]):
        photo(tmp_path / path, number)
    dataset = read(tmp_path)
    assert dataset.given == ("", "", "test", "test")
    assert dataset.task.labels == ("a", "b")
    assert any("Not read: 'notes'" in note for note in dataset.notes)


def test_images_beside_the_class_folders_of_a_split(tmp_path: Path, photo: Photo) -> None:
    paths = ["train/a/1.png", "train/b/1.png", "train/loose.png", "test/1.png", "test/2.png", "test/readme.md"]
    for number, path in enumerate(paths[:-1]):
        photo(tmp_path / path, number)
    (tmp_path / paths[-1]).write_text("no image, no class")
    dataset = read(tmp_path)
    assert dict(zip(dataset.examples.ids, dataset.examples.targets.tolist(), strict=True)) == {
        "train/a/1.png": 0,
        "train/b/1.png": 1,
        "train/loose.png": -1,
    }
    assert {item.id: item.reason for item in dataset.excluded} == {
        "train/loose.png": "no label",
        "test/1.png": "no label",
        "test/2.png": "no label",
    }
    assert any("all test rows" in note for note in dataset.notes)


def test_a_class_may_be_called_test(tmp_path: Path, photo: Photo) -> None:
    for number, path in enumerate(["control/1.png", "control/2.png", "test/1.png"]):
        photo(tmp_path / path, number)
    assert labels_of(tmp_path)["test/1.png"] == "test"


def test_hidden_files_are_no_examples(animals: Path) -> None:
    for name in (".DS_Store", "cat/.DS_Store", "cat/Thumbs.db", "dog/desktop.ini", "cat/.hidden/3.png"):
        (animals / name).parent.mkdir(exist_ok=True)
        (animals / name).write_bytes(b"junk")
    (animals / "__MACOSX").mkdir()
    assert len(labels_of(animals)) == 4
    assert reasons_of(animals) == {}


def test_other_files_are_left_out_by_name(animals: Path, photo: Photo) -> None:
    (animals / "cat/notes.txt").write_text("fluffy")
    (animals / "README.md").write_text("not in a class folder, not an image")
    photo(animals / "stray.png")
    reasons = reasons_of(animals)
    assert reasons.keys() == {"cat/notes.txt", "stray.png"}
    assert "not an image" in reasons["cat/notes.txt"]
    assert reasons["stray.png"] == "not in a class folder"


def test_links_are_followed_and_loops_end(tmp_path: Path, animals: Path, photo: Photo) -> None:
    elsewhere = photo(tmp_path / "elsewhere/3.png", 9).parent
    (animals / "cat/more").symlink_to(elsewhere)
    (animals / "cat/self").symlink_to(animals / "cat")
    (animals / "dog/up").symlink_to(animals)
    (animals / "dog/own.png").symlink_to(animals / "dog/own.png")
    assert "cannot be read" in reasons_of(animals)["dog/own.png"]
    labels = labels_of(animals)
    assert labels["cat/more/3.png"] == "cat"
    assert sum(label == "cat" for name, label in labels.items() if name.startswith("cat/")) == 3
    # dog/up leads to everything once more, but each folder once only
    assert sum(name.startswith("dog/up/dog") for name in labels) == 0


def test_unreadable_subfolder_is_left_out_by_name(animals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name == "old":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(folders.os, "scandir", refuse)
    dataset = read(animals)
    assert [(item.id, item.reason) for item in dataset.excluded] == [
        ("cat/old", "folder cannot be read: Permission denied")
    ]
    assert "cat/old: folder cannot be read: Permission denied." in dataset.notes


@pytest.mark.parametrize("forbidden", ["animals", "train"])
def test_unreadable_folder_is_an_error(
    tmp_path: Path, photo: Photo, monkeypatch: pytest.MonkeyPatch, forbidden: str
) -> None:
    root = tmp_path / "animals"
    for path in ("train/a/1.png", "test/a/1.png"):
        photo(root / path)
    scan = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name == forbidden:
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(folders.os, "scandir", refuse)
    with pytest.raises(DataError, match=f"cannot read the folder .*{forbidden}: Permission denied"):
        read(root)


def test_folder_named_like_an_image(animals: Path, photo: Photo) -> None:
    (animals / "cat/x.png").mkdir()
    photo(animals / "dog/holder.png/3.png", 8)
    assert reasons_of(animals) == {"cat/x.png": "is a folder, not an image"}
    assert labels_of(animals)["dog/holder.png/3.png"] == "dog"


def test_empty_class_folder_is_named(animals: Path) -> None:
    (animals / "emu").mkdir()
    dataset = read(animals)
    assert dataset.task.labels == ("cat", "dog")
    assert "The class folder 'emu' is empty." in dataset.notes


def test_names_that_utf8_cannot_hold(animals: Path, photo: Photo) -> None:
    path = photo(animals / "cat/x.png", 5)
    path.rename(os.fsdecode(os.fsencode(path.parent) + b"/\xff\xfe.png"))
    dataset = read(animals)
    assert len(dataset.examples) == 5
    assert "".join(dataset.examples.ids).encode()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "holds nothing"),
        (["1.png", "2.png"], "images but no class folders"),
        (["readme.md"], "no class folders and no table"),
        (["train/1.png", "test/2.png"], "'test', 'train' in .* hold no class folders"),
        (["outer/cat/1.png", "outer/dog/1.png"], "did you mean .*outer"),
        (["cat/1.png", "cat/2.png"], "the class 'cat'; classification needs at least two"),
    ],
)
def test_shapes_that_mean_nothing(tmp_path: Path, photo: Photo, names: list[str], message: str) -> None:
    for number, name in enumerate(names):
        photo(tmp_path / name, number) if name.endswith("png") else (tmp_path / name).write_text("")
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_folders_without_any_file(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    with pytest.raises(DataError, match="hold no images"):
        read(tmp_path)
