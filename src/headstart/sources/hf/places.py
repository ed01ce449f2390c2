"""Where a model of the Hugging Face hub lies: in the cache, or fetched into it, a few named files only."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from headstart import runtime
from headstart.errors import BundleRefused, HeadstartError, UsageError
from headstart.safety import shown
from headstart.sources.hf.folder import FILES, ModelFolder

__all__ = ["Name", "cache", "cached", "fetched", "parsed"]

FORM = re.compile(
    r"hf:([A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9][A-Za-z0-9_.-]{0,95})(?:@([A-Za-z0-9][A-Za-z0-9_./-]{0,127}))?"
)
COMMIT = re.compile("[0-9a-f]{40}")
ENDPOINT = "HF_ENDPOINT"


class Name(NamedTuple):
    """``hf:ORG/NAME[@REVISION]`` in its parts."""

    repository: str
    revision: str
    """A branch, tag or commit; ``main`` where none was given."""


def parsed(name: str) -> Name | None:
    """The parts of a name of the hub; None where it has another form."""
    found = FORM.fullmatch(name)
    if found is None or ".." in name:
        return None
    return Name(found[1], found[2] or "main")


def cache() -> Path:
    """The hub's cache: ``HF_HUB_CACHE``, else ``hub`` in ``HF_HOME``, else in the XDG cache folder."""
    if named := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("HF_HOME") or f"{base}/huggingface").expanduser() / "hub"


def cached(name: Name) -> ModelFolder | None:
    """The snapshot of a model in the cache, by its commit; None where there is none."""
    root = cache() / f"models--{name.repository.replace('/', '--')}"
    commit = name.revision
    if not COMMIT.fullmatch(commit):
        try:
            commit = (root / "refs" / name.revision).read_text("ascii").strip()
        except (OSError, UnicodeError):
            return None
        if not COMMIT.fullmatch(commit):
            raise BundleRefused(f"the cache says that {shown(name.revision)} is {shown(commit)}, which is no commit")
    path = root / "snapshots" / commit
    return ModelFolder(path, Path(os.path.realpath(root)), commit) if path.is_dir() else None


def fetched(name: Name) -> ModelFolder:
    """Fetches the few files of a model that are read into the cache.

    Raises:
        UsageError: If the network may not be used or does not answer, or there is no such model.
        BundleRefused: If the model has no safetensors.
    """
    typed = f"hf:{name.repository}" + ("" if name.revision == "main" else f"@{name.revision}")
    if runtime.offline():
        raise UsageError(
            f"source '{typed}' is not (whole) in the cache {cache()}, and the network may not be used "
            "(HF_HUB_OFFLINE or HEADSTART_OFFLINE is set)"
        )
    try:
        commit = _download(name)
    except HeadstartError:
        raise
    except Exception as error:  # the library's network layers raise in ways of their own
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise
        answered = getattr(error, "response", None) is not None
        why = "the hub says" if answered else "no answer from the network"
        raise UsageError(f"source '{typed}' could not be fetched: {why}: {_reason(error)}") from error
    found = cached(Name(name.repository, commit))
    if found is None:
        raise UsageError(f"source '{typed}' was fetched, and is not in the cache {cache()}")
    return found


def _download(name: Name) -> str:
    """Fetches files into the cache; their commit."""
    from huggingface_hub import HfApi, hf_hub_download

    endpoint = os.environ.get(ENDPOINT)
    facts: Any = HfApi(endpoint=endpoint).model_info(name.repository, revision=name.revision)
    wanted = sorted(file.rfilename for file in facts.siblings or () if FILES.fullmatch(file.rfilename))
    if "model.safetensors" in wanted:
        wanted = [file for file in wanted if not file.startswith("model-") and file != "model.safetensors.index.json"]
    elif "model.safetensors.index.json" not in wanted:
        raise BundleRefused(
            f"{name.repository} has no safetensors weights, the only ones that are read; nothing was fetched"
        )
    for file in wanted:
        hf_hub_download(name.repository, file, revision=name.revision, cache_dir=cache(), endpoint=endpoint)
    return str(facts.sha)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
