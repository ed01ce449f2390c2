"""Keeps the file tree in README.md: one line a module, its phrase being the first line of its docstring.

python tools/readme.py         says whether the tree is up to date (exit 1 if not)
python tools/readme.py --write makes it so
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["README", "SOURCE", "current", "tree", "write"]

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
SOURCE = ROOT / "src" / "headstart"
BEGIN, END = "<!-- tree -->\n```text\n", "```\n<!-- /tree -->"
WIDTH = 26
"""Column in which the phrases begin."""


def tree(source: Path = SOURCE) -> str:
    """Every module below a package, folders with their own phrase first."""
    return f"src/{source.name}/\n" + "".join(f"{line}\n" for line in _lines(source, 1))


def _lines(folder: Path, depth: int) -> Iterator[str]:
    for path in sorted(folder.iterdir(), key=lambda path: (path.name != "__init__.py", path.name.lstrip("_"))):
        if (path / "__init__.py").is_file():
            yield _line(f"{path.name}/", path / "__init__.py", depth)
            yield from _lines(path, depth + 1)
        elif path.suffix == ".py" and (path.name != "__init__.py" or depth == 1):
            yield _line(path.name, path, depth)


def _line(name: str, file: Path, depth: int) -> str:
    phrase = (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").partition("\n")[0].rstrip(".")
    return f"{'  ' * depth + name:<{WIDTH}} {phrase}"


def current(text: str) -> str:
    """The tree as a README has it."""
    return text.split(BEGIN)[1].split(END)[0]


def write() -> None:
    """Puts the tree of now into README.md."""
    text = README.read_text("utf-8")
    README.write_text(text.replace(BEGIN + current(text) + END, BEGIN + tree() + END), "utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write()
    elif current(README.read_text("utf-8")) != tree():
        sys.exit("README.md lists other modules or phrases than src has. Run: make readme")
