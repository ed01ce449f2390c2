"""The hub's cache: names, revisions, working offline, what is fetched and what is only listed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from headstart import sources
from headstart.errors import BundleRefused, UsageError
from headstart.sources.hf import places

COMMIT, OTHER = "0123456789" * 4, "abcdef0123" * 4
SMALL = "BAAI/bge-small-en-v1.5"


def test_names_are_taken_apart():
    assert places.parsed("hf:org/name") == ("org/name", "main")
    assert places.parsed("hf:org/name@v1.0/x") == ("org/name", "v1.0/x")
    for name in (
        "org/name",
        "hf:name",
        "hf:../x",
        "hf:a/b@../../x",
        "hf:a/b/c",
        "hf:a/b@",
        "hf:/etc/passwd",
        "hf:a/..b",
    ):
        assert places.parsed(name) is None


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"HF_HUB_CACHE": "/one", "HF_HOME": "/two"}, "/one"),
        ({"HF_HOME": "/two"}, "/two/hub"),
        ({"XDG_CACHE_HOME": "/three"}, "/three/huggingface/hub"),
        ({"HOME": "/four"}, "/four/.cache/huggingface/hub"),
    ],
)
def test_the_cache_is_where_its_own_library_has_it(settings, expected, monkeypatch):
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert str(places.cache()) == expected


def test_a_cached_model_is_pinned_to_its_commit(models, hub_cache):
    hub_cache(models("bert"), "org/name", COMMIT)
    source = sources.resolve("hf:org/name", "text")
    assert (source.card.name, source.card.revision, source.card.provider) == ("hf:org/name", COMMIT, "hf")
    alone = sources.resolve(str(models("bert")))
    assert source.card.weights_sha256 == alone.card.weights_sha256
    assert all(np.array_equal(value, alone.tensors()[name]) for name, value in source.tensors().items())
    assert source.assets() == alone.assets()
    by_commit = sources.resolve(f"hf:org/name@{COMMIT}")
    assert by_commit.card.revision == COMMIT


def test_revisions_are_kept_apart(models, hub_cache):
    hub_cache(models("roberta"), "org/name", OTHER)
    hub_cache(models("bert"), "org/name", COMMIT)
    assert sources.resolve(f"hf:org/name@{OTHER}").card.architecture["type"] == "roberta"
    assert sources.resolve("hf:org/name").card.architecture["type"] == "bert"
    with pytest.raises(UsageError, match="'hf:org/name@v2' is not .* in the cache"):
        sources.resolve("hf:org/name@v2")


def test_what_is_not_cached_is_said_when_the_network_may_not_be_used(hub_cache):
    with pytest.raises(UsageError, match="not .whole. in the cache .*, and the network may not be used"):
        sources.resolve("hf:org/absent")
    with pytest.raises(UsageError, match=f"'hf:{SMALL}' is not"):
        sources.resolve(f"hf:{SMALL}")


def test_the_catalog_is_true_in_form_and_lists_what_is_missing(hub_cache):
    rows = [row for row in sources.listing() if row["provider"] == "hf"]
    assert {row["modality"] for row in rows} == {"image", "text"}
    for row in rows:
        assert places.parsed(row["name"])
        assert row["licence"] in ("MIT", "Apache-2.0")
        assert row["trained_on"]
        assert row["dim"] > 0
        assert 10**6 < row["parameters"] < 10**9
        assert (row["prior"] is None) == (row["prior_name"] == "")
        assert row["prior"] is None or 0.5 < row["prior"] < 1
        assert "MB to fetch, and the network may not be used" in row["missing"]
    for modality in ("image", "text"):
        assert sum(row["modality"] == modality for row in rows) >= 12


def test_auto_takes_listed_models_that_are_cached_and_no_others(models, hub_cache):
    before = {source.name for source in sources.candidates("auto", "text")}
    hub_cache(models("bert"), SMALL, COMMIT)
    hub_cache(models("bert"), "org/name", COMMIT)
    after = {source.name: source for source in sources.candidates("auto", "text")}
    assert set(after) - before == {f"hf:{SMALL}"}
    card = after[f"hf:{SMALL}"].card
    assert (card.title, card.licence, card.prior, card.revision) == ("BGE small English v1.5", "MIT", 0.7414, COMMIT)


def test_a_prompt_of_the_catalog_is_used(models, hub_cache):
    hub_cache(models("bert"), "intfloat/e5-small-v2")
    assert sources.resolve("hf:intfloat/e5-small-v2").card.input.prompt == "query: "


def test_a_listed_model_that_breaks_a_rule_is_told_and_left_out(model, hub_cache):
    folder = model("bert")
    (folder / "config.json").write_text("{}")
    hub_cache(folder, SMALL)
    (row,) = [row for row in sources.listing() if row["name"] == f"hf:{SMALL}"]
    assert "model type None" in row["missing"]
    assert f"hf:{SMALL}" not in {source.name for source in sources.candidates("auto", "text")}
    with pytest.raises(BundleRefused, match="was refused: config.json is of the model type None"):
        sources.resolve(f"hf:{SMALL}")


def test_a_reference_that_is_no_commit_is_refused(models, hub_cache):
    snapshot = hub_cache(models("bert"), "org/name")
    (snapshot.parents[1] / "refs" / "main").write_text("../../..")
    with pytest.raises(BundleRefused, match="which is no commit"):
        sources.resolve("hf:org/name")


def test_a_blob_that_is_not_what_its_name_says_is_refused(models, hub_cache):
    snapshot = hub_cache(models("bert"), "org/name")
    blob = snapshot / "model.safetensors"
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    Path(os.path.realpath(blob)).write_bytes(data)
    source = sources.resolve("hf:org/name")
    with pytest.raises(BundleRefused, match="model.safetensors was changed or damaged"):
        source.tensors()


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as fetching a model needs, on this machine."""

    folder: Path
    asked: list[str]

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        path = self.path.split("?")[0]
        type(self).asked.append(f"{self.command} {path}")
        files = sorted(str(file.relative_to(self.folder)) for file in self.folder.rglob("*") if file.is_file())
        name = path.partition("/resolve/")[2].partition("/")[2]
        if path.startswith("/api/models/org/name"):
            siblings = [{"rfilename": file} for file in files]
            body = json.dumps({"id": "org/name", "modelId": "org/name", "sha": COMMIT, "siblings": siblings}).encode()
        elif name in files:
            body = (self.folder / name).read_bytes()
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{len(body):040x}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *arguments):
        """Says nothing."""


FETCH = """
import sys
from headstart import sources
from headstart.errors import HeadstartError
try:
    source = sources.resolve(sys.argv[1])
    print(source.card.revision, source.card.modality, len(source.tensors()))
except HeadstartError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def hub(models, tmp_path):
    """``hub(name, **environment)``: resolves a name in a process of its own, against a hub on this machine."""
    Hub.folder, Hub.asked = tmp_path / "served", []
    shutil.copytree(models("bert"), Hub.folder)
    for name in ("pytorch_model.bin", "modeling_evil.py", "flax_model.msgpack", "onnx.onnx"):
        (Hub.folder / name).write_bytes(b"not wanted")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def run(name, **settings):
        endpoint = f"http://127.0.0.1:{server.server_port}"
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        settings = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1", **settings}
        done = subprocess.run([sys.executable, "-c", FETCH, name], capture_output=True, text=True, env=kept | settings)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().splitlines()[-1]

    yield run
    server.shutdown()
    server.server_close()


def test_a_named_model_is_fetched_once_and_only_the_files_that_are_read(hub, tmp_path):
    assert hub("hf:org/name") == f"{COMMIT} text 37"
    fetched = {path.rpartition(f"{COMMIT}/")[2] or path for path in Hub.asked if path.startswith("GET /org/name")}
    names = {path.rpartition("/")[2] for path in fetched}
    assert names == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    asked = len(Hub.asked)
    assert hub("hf:org/name") == f"{COMMIT} text 37"
    assert hub("hf:org/name", HF_HUB_OFFLINE="1") == f"{COMMIT} text 37"
    assert len(Hub.asked) == asked


def test_what_cannot_be_fetched_is_said_in_a_sentence(hub):
    assert hub("hf:org/other").startswith("UsageError source 'hf:org/other' could not be fetched: the hub says: 404")
    assert "the network may not be used" in hub("hf:org/name", HF_HUB_OFFLINE="1")
    assert "the network may not be used" in hub("hf:org/name", HEADSTART_OFFLINE="1")
    assert "could not be fetched: no answer from the network" in hub("hf:org/name", HF_ENDPOINT="http://127.0.0.1:9")
    (Hub.folder / "model.safetensors").unlink()
    said = hub("hf:org/name")
    assert said.startswith("BundleRefused")
    assert "no safetensors weights" in said
    assert not any("pytorch_model" in path for path in Hub.asked)
