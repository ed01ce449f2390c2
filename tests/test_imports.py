"""What may import what, what may be called at all, and what the package shows to the outside."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import headstart

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "headstart"
FILES = sorted(SOURCE.rglob("*.py"))
DEEP_LEARNING = {"torch", "timm", "transformers", "torchvision"}
HEAVY = DEEP_LEARNING | {"sklearn", "skimage", "pandas", "pyarrow", "scipy"}
PUBLIC = {
    "fit",
    "rank",
    "initialize",
    "Source",
    "embed",
    "load",
    "TransferClassifier",
    "TransferRegressor",
    "__version__",
}
LOADER = ("sources/packaged.py", "_open_pinned")
"""The one function that may call ``torch.load``, on files whose hash is pinned and was checked."""
FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "NotImplementedError",
    "torch.load", "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter", "torch.serialization.load",
    "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "yaml.unsafe_load_all", "yaml.full_load_all",
    "pd.read_pickle", "pandas.read_pickle", "os.system", "os.popen",
}  # fmt: skip
"""Dotted names as they are written, whether called or only mentioned."""
FORBIDDEN_ARGUMENTS = {("trust_remote_code", None), ("allow_pickle", None), ("strict", False), ("weights_only", False)}
"""Keyword arguments, with the value that is forbidden; None: any."""


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of a name or a chain of attributes; empty for anything else."""
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return node.id if isinstance(node, ast.Name) else ""


def imported(node: ast.AST) -> list[str]:
    """Modules and dotted names that an import statement brings in."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def offences(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    """Line, enclosing function and name of everything in a module that is forbidden."""

    def visit(node: ast.AST, function: str) -> Iterator[tuple[int, str, str]]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = node.name
        for name in imported(node):
            if name.split(".")[0] in FORBIDDEN_MODULES or name in FORBIDDEN_CALLS:
                yield node.lineno, function, name  # type: ignore[attr-defined]
        if isinstance(node, ast.Name | ast.Attribute) and dotted(node) in FORBIDDEN_CALLS:
            yield node.lineno, function, dotted(node)
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
                if {(keyword.arg, None), (keyword.arg, value)} & FORBIDDEN_ARGUMENTS:
                    yield node.lineno, function, f"{keyword.arg}={value}"
        for child in ast.iter_child_nodes(node):
            yield from visit(child, function)

    yield from visit(tree, "")


def loaded_by(statement: str) -> set[str]:
    """Top-level packages in ``sys.modules`` after a statement in a fresh interpreter."""
    code = f"import sys\n{statement}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=SOURCE.parent)
    return set(done.stdout.split())


def module_name(file: Path) -> str:
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_imports_point_one_way(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from importlinter.cli import lint_imports

    monkeypatch.chdir(ROOT)
    status = lint_imports(no_cache=True)
    assert status == 0, capsys.readouterr().out


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(SOURCE).as_posix())
def test_nothing_loads_code_or_leaves_stubs(file: Path) -> None:
    found = list(offences(ast.parse(file.read_text("utf-8"))))
    name = file.relative_to(SOURCE).as_posix()
    allowed = [offence for offence in found if (name, *offence[1:]) == (*LOADER, "torch.load")]
    assert [offence for offence in found if offence not in allowed] == []
    assert len(allowed) <= 1


def test_the_one_loader_opens_weights_only() -> None:
    file, name = LOADER
    nodes = list(ast.walk(ast.parse((SOURCE / file).read_text("utf-8"))))
    (function,) = (node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == name)
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call) and dotted(node.func) == "torch.load"]
    assert len(calls) == 1
    options = {keyword.arg: ast.unparse(keyword.value) for keyword in calls[0].keywords}
    assert options["weights_only"] == "True"


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "def f():\n    import dill",
        "from torch import load",
        "x = torch.load('f', weights_only=True)",
        "y = yaml.load(s)",
        "eval('1')",
        "raise NotImplementedError",
        "raise NotImplementedError('later')",
        "np.load(f, allow_pickle=True)",
        "m.load_state_dict(t, strict=False)",
        "AutoModel.from_pretrained(p, trust_remote_code=flag)",
        "reader = torch.load",
    ],
)
def test_the_lint_sees(code: str) -> None:
    assert list(offences(ast.parse(code)))


@pytest.mark.parametrize(
    "code", ["yaml.safe_load(s)", "re.compile('x')", "zip(a, b, strict=True)", "safetensors.torch.load(b)"]
)
def test_the_lint_lets_pass(code: str) -> None:
    assert not list(offences(ast.parse(code)))


def test_the_report_never_imports_a_deep_learning_library() -> None:
    trees = [ast.parse(file.read_text("utf-8")) for file in FILES if file.is_relative_to(SOURCE / "report")]
    names = {name.split(".")[0] for tree in trees for node in ast.walk(tree) for name in imported(node)}
    assert "headstart" in names
    assert not names & DEEP_LEARNING
    assert not loaded_by("import headstart.report") & DEEP_LEARNING


@pytest.mark.parametrize("room", ["cli", "demo", "types", "config", "report"])
def test_importing_loads_nothing_heavy(room: str) -> None:
    assert not loaded_by(f"import headstart, headstart.{room}") & HEAVY


@pytest.mark.parametrize("file", [file for file in FILES if file.name != "__main__.py"], ids=module_name)
def test_every_module_says_what_it_is_and_what_it_offers(file: Path) -> None:
    tree = ast.parse(file.read_text("utf-8"))
    assert (ast.get_docstring(tree) or "").strip()
    module = importlib.import_module(module_name(file))
    assert set(module.__all__) <= set(dir(module))
    assert len(set(module.__all__)) == len(module.__all__)


def test_the_public_names_are_there() -> None:
    assert set(headstart.__all__) == set(dir(headstart)) == PUBLIC
    for name in headstart.__all__:
        value = getattr(headstart, name)
        assert name == "__version__" or value.__doc__
    with pytest.raises(AttributeError, match="public names: .*fit"):
        _ = headstart.fitt
