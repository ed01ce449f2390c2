"""The documents say what the code is."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from headstart import cli
from headstart.config import FitConfig
from headstart.errors import BundleRefused, DataError, Diverged, HeadstartError, ResourceError, UsageError
from headstart.registry import Registry

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text("utf-8")
GUIDE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
TABLES = {
    "sources": ["PROVIDERS"],
    "scores": ["SCORES"],
    "heads": ["HEADS"],
    "methods": ["METHODS"],
    "modalities": ["PIPELINES", "BASELINES"],
    "exporters": ["EXPORTERS"],
    "initialization": ["RULES"],
}


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


def test_every_command_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    commands = re.findall(r"^    ([a-z]+) ", capsys.readouterr().out, re.MULTILINE)
    told = TEXT.split("| command | does |")[1].split("\n\n")[0]
    assert sorted(commands) == sorted(re.findall(r"^\| `([a-z]+)", told, re.MULTILINE))


@pytest.mark.parametrize("setting", sorted(FitConfig.__dataclass_fields__))
def test_every_setting_is_told(setting: str) -> None:
    assert f"`--{setting.replace('_', '-')}`" in TEXT


@pytest.mark.parametrize("room", TABLES)
def test_the_guide_names_every_table_and_its_entry_points(room: str) -> None:
    module = importlib.import_module(f"headstart.{room}")
    assert [name for name, value in vars(module).items() if isinstance(value, Registry)] == TABLES[room]
    for name in TABLES[room]:
        assert f"`headstart.{getattr(module, name).family}`" in GUIDE
        assert f"`{name}`" in GUIDE


def test_the_guides_score_works() -> None:
    code = GUIDE.split("### A score")[1].split("```python\n")[1].split("```")[0]
    example: dict[str, Any] = {}
    exec(code, example)
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, 90)
    apart = rng.normal(size=(90, 8)) + 9 * np.eye(8)[classes]
    assert example["score"](apart, classes, "classification") == 1
    assert example["score"](apart, rng.permutation(classes), "classification") < 0.6


def test_the_guides_rule_works() -> None:
    import torch

    from headstart import initialize
    from headstart.initialization import DEFAULT, Fitted, Pair, Rule, Scene

    code = GUIDE.split("### A rule of initialization")[1].split("```python\n")[1].split("```")[0]
    example: dict[str, Any] = {"Fitted": Fitted, "Pair": Pair, "Rule": Rule, "Scene": Scene, "Tensor": torch.Tensor}
    exec(code, example)
    source, target = torch.nn.Conv2d(3, 4, 5), torch.nn.Conv2d(3, 4, 3)
    ledger = initialize(target, source, [*DEFAULT, example["Centre"]()])
    assert torch.equal(target.weight, source.weight[..., 1:4, 1:4])
    assert {row.rule for row in ledger} == {"name + centre", "name"}


def test_the_constraints_hold_for_what_the_package_asks_for() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = project["project"]["optional-dependencies"]
    asked = [*project["build-system"]["requires"], *project["project"]["dependencies"], *sum(extras.values(), [])]
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    assert not any("+" in version for version in pins.values()), "a local build is not to be had everywhere"
    for text in asked:
        requirement = Requirement(text)
        if requirement.name != "headstart":
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), text
