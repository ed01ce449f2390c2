"""The documents say what the code is."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from headstart.config import FitConfig
from headstart.errors import BundleRefused, DataError, Diverged, HeadstartError, ResourceError, UsageError

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme_tool", ROOT / "tools" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_file_tree_is_that_of_the_package(tool: ModuleType) -> None:
    assert tool.current(TEXT) == tool.tree(), "run: make readme"


def test_the_file_tree_lists_every_module_with_a_phrase(tool: ModuleType) -> None:
    lines = tool.tree().splitlines()[1:]
    assert all(len(line.split()) > 1 for line in lines)
    modules = {path.name for path in tool.SOURCE.rglob("*.py")} - {"__init__.py"}
    assert modules <= {line.split()[0] for line in lines}


def test_the_tree_says_folders_before_their_files(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "__init__.py").write_text('"""The house."""\n')
    (tmp_path / "room" / "__init__.py").write_text('"""A room.\n\nWith more to say.\n"""\n')
    (tmp_path / "room" / "bed.py").write_text('"""To sleep in."""\n')
    words = [line.split(maxsplit=1) for line in tool.tree(tmp_path).splitlines()[1:]]
    assert words == [["__init__.py", "The house"], ["room/", "A room"], ["bed.py", "To sleep in"]]


def test_links_to_files_lead_somewhere() -> None:
    for document in ROOT.glob("*.md"):
        for target in re.findall(r"\]\(((?!https?:)[^)#]+)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("error", [HeadstartError, UsageError, DataError, BundleRefused, ResourceError, Diverged])
def test_every_exit_code_is_told(error: type[HeadstartError]) -> None:
    assert f"| {error.exit_code} |" in TEXT


@pytest.mark.parametrize("setting", sorted(FitConfig.__dataclass_fields__))
def test_every_setting_is_told(setting: str) -> None:
    assert f"`--{setting.replace('_', '-')}`" in TEXT
