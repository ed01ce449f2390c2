"""What the tests of single methods share."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def suite() -> ModuleType:
    """The conformance suite's tiny sources and data."""
    path = Path(__file__).parents[1] / "conformance" / "test_methods.py"
    spec = importlib.util.spec_from_file_location("conformance_of_methods", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
