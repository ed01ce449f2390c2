"""Model folders that are broken or malicious: refused with a sentence, never run, never a crash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from headstart import sources
from headstart.cli import main
from headstart.errors import BundleRefused
from headstart.features import made

HOSTILE = Path(__file__).with_name("hostile.py")


def change(folder, name="config.json", **changes):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def weights(folder, **changes):
    """Changes tensors of a folder's only file; None removes one."""
    path = folder / "model.safetensors"
    tensors = {**load_file(path), **changes}
    save_file({name: value for name, value in tensors.items() if value is not None}, path)


def header(folder, data):
    (folder / "model.safetensors").write_bytes(len(data).to_bytes(8, "little") + data)


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def cut_header(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def linked_out(name):
    def apply(folder):
        outside = folder.parent / "outside"
        (folder / name).rename(outside)
        (folder / name).symlink_to(outside)

    return apply


def fifo(folder):
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")


NAME = "bert.embeddings.word_embeddings.weight"
ZEROS = np.zeros((1, 1), np.float32)
BROKEN = {
    "no safetensors": (pickled, "no model.safetensors; 'pytorch_model.bin' is in another format"),
    "cut short": (cut, "lacks 100 bytes of its tensors"),
    "cut within the header": (cut_header, "ends within its header"),
    "oversized header": (
        lambda folder: (folder / "model.safetensors").write_bytes((1 << 40).to_bytes(8, "little") + b"{}"),
        "says that its header has 1,099,511,627,776 bytes",
    ),
    "header of another form": (lambda folder: header(folder, b'{"a": 1}'), "by other than dtype, shape"),
    "nothing": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "ends within its header"),
    "NaN": (lambda folder: weights(folder, **{NAME: np.full((32, 16), np.nan, np.float32)}), "holds NaN or infinity"),
    "infinity": (lambda folder: weights(folder, **{NAME: np.full((32, 16), np.inf, np.float32)}), "NaN or infinity"),
    "whole numbers": (lambda folder: weights(folder, **{NAME: np.zeros((32, 16), np.int8)}), "only floating point"),
    "one missing": (lambda folder: weights(folder, **{NAME: None}), "1 missing: embeddings.word_embeddings.weight"),
    "one too many": (lambda folder: weights(folder, **{"bert.evil": ZEROS}), "1 unexpected: evil"),
    "one unexplained": (
        lambda folder: weights(folder, evil=ZEROS),
        "'evil', which is neither of the bert backbone nor",
    ),
    "another shape": (lambda folder: weights(folder, **{NAME: ZEROS}), "1 of another shape"),
    "two names of one": (
        lambda folder: weights(folder, **{"bert.embeddings.LayerNorm.gamma": np.zeros(16, np.float32)}),
        "are both 'embeddings.LayerNorm.weight'",
    ),
    "auto_map": (lambda folder: change(folder, auto_map={"AutoModel": "evil.Evil"}), "names code to run .auto_map."),
    "auto_map deep down": (lambda folder: change(folder, a=[{"b": {"auto_map": 1}}]), "names code to run"),
    "auto_map of the tokenizer": (
        lambda folder: change(folder, "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil"]}),
        "tokenizer_config.json names code to run",
    ),
    "unknown type": (lambda folder: change(folder, model_type="evil"), "model type 'evil'. Known: bert, roberta"),
    "type that is a path": (lambda folder: change(folder, model_type="../../evil"), "model type"),
    "type of another kind": (lambda folder: change(folder, model_type=["bert"]), "model type"),
    "no type": (lambda folder: (folder / "config.json").write_text("{}"), "model type None"),
    "no width": (lambda folder: change(folder, hidden_size=None), "lacks hidden_size"),
    "too many layers": (lambda folder: change(folder, num_hidden_layers=10**7), "whole number in 1 .. 200"),
    "more than the file holds": (lambda folder: change(folder, vocab_size=2_000_000), "1 of another shape"),
    "activation": (lambda folder: change(folder, hidden_act="os.system"), "one of gelu"),
    "decoder": (lambda folder: change(folder, is_decoder=True), "the only value this version builds"),
    "no JSON": (lambda folder: (folder / "config.json").write_text("{'a': 1}"), "is not JSON"),
    "keys twice": (lambda folder: (folder / "config.json").write_text('{"a": 1, "a": 2}'), "more than once"),
    "deep JSON": (
        lambda folder: (folder / "config.json").write_text('{"a":' * 5000 + "1" + "}" * 5000),
        "nested deeper",
    ),
    "config leads out": (linked_out("config.json"), "config.json is a link that leads out of"),
    "weights lead out": (linked_out("model.safetensors"), "model.safetensors is a link that leads out of"),
    "tokenizer leads out": (linked_out("tokenizer.json"), "tokenizer.json is a link that leads out of"),
    "a fifo": (fifo, "only regular files are read"),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer.json"),
    "tokens beyond the table": (
        lambda folder: weights_of_fewer_words(folder),
        "gives the token number 31, and the model",
    ),
    "a tokenizer of another form": (lambda folder: change(folder, "tokenizer.json", model=3), "cannot be read"),
    "no token for unknown words": (lambda folder: unknown(folder), "fails on a text: .*Missing .UNK. token"),
    "a template that panics": (lambda folder: panicking(folder), "fails on a text: no entry found for key"),
    "tokens beyond, by the template": (lambda folder: template(folder, 999), "gives the token number 999"),
}


def weights_of_fewer_words(folder):
    weights(folder, **{NAME: np.ones((30, 16), np.float32)})
    change(folder, vocab_size=30)


def unknown(folder):
    found = json.loads((folder / "tokenizer.json").read_text())
    found["model"]["vocab"]["[UNI]"] = found["model"]["vocab"].pop("[UNK]")
    (folder / "tokenizer.json").write_text(json.dumps(found))


def panicking(folder):
    found = json.loads((folder / "tokenizer.json").read_text())
    found["post_processor"]["special_tokens"]["[XEP]"] = found["post_processor"]["special_tokens"].pop("[SEP]")
    (folder / "tokenizer.json").write_text(json.dumps(found))


def template(folder, number):
    found = json.loads((folder / "tokenizer.json").read_text())
    found["post_processor"]["special_tokens"]["[CLS]"]["ids"] = [number]
    (folder / "tokenizer.json").write_text(json.dumps(found))


def use(name):
    from headstart.modalities import pipeline_of

    source = sources.resolve(str(name))
    source.backbone()
    list(map(made, pipeline_of(source).parts(["a b nowhere"])))


@pytest.mark.parametrize("case", BROKEN)
def test_broken_folders_are_refused_in_a_sentence(case, model):
    damage, said = BROKEN[case]
    folder = model("bert")
    use(folder)
    damage(folder)
    with pytest.raises(BundleRefused, match=said):
        use(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rescale_factor": 1.0}, "in another range than 0 .. 1"),
        ({"do_rescale": False}, "in another range"),
        ({"image_mean": [0.5]}, "image_mean = .0.5.; it must be three numbers"),
        ({"image_std": [0, 1, 1]}, "image_std"),
        ({"size": {"height": 32, "width": 64}}, "it must be one side in"),
        ({"size": 10**9}, "it must be one side in"),
        ({"size": "big"}, "it must be one side in"),
        ({"resample": 99}, "resample = 99; known"),
        ({"auto_map": {"a": "b"}}, "names code to run"),
    ],
)
def test_preparations_of_images_that_are_not_understood_are_refused(changes, said, model):
    folder = model("vit")
    change(folder, "preprocessor_config.json", **changes)
    with pytest.raises(BundleRefused, match=said):
        sources.resolve(str(folder))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"../outside.safetensors": ["a"]}, "must name 1 to 64 files like"),
        ({"/etc/passwd": ["a"]}, "must name 1 to 64 files like"),
        ({"pytorch_model.bin": ["a"]}, "must name 1 to 64 files like"),
        ({"model-00001-of-00002.safetensors": ["a"], "model-00002-of-00002.safetensors": ["b"]}, "is missing"),
        ({}, "has no weight_map"),
    ],
)
def test_an_index_names_files_of_its_folder_only(names, said, model):
    folder = model("bert")
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {tensor: file for file, tensors in names.items() for tensor in tensors}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(BundleRefused, match=said):
        sources.resolve(str(folder))


def test_a_cache_may_link_into_its_own_blobs_and_nowhere_else(models, hub_cache, tmp_path):
    snapshot = hub_cache(models("bert"), "org/name")
    assert (snapshot / "config.json").is_symlink()
    use("hf:org/name")
    outside = tmp_path / "outside.json"
    outside.write_bytes((snapshot / "config.json").read_bytes())
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to(outside)
    with pytest.raises(BundleRefused, match="a link that leads out of"):
        sources.resolve("hf:org/name")


def test_the_command_line_says_it_in_a_sentence_and_exits_with_4(model, topics_csv, capsys, tmp_path):
    folder = model("bert")
    change(folder, auto_map={"AutoModel": "evil.Evil"})
    assert main(["fit", str(topics_csv), "--source", str(folder), "--out", str(tmp_path / "run")]) == 4
    said = capsys.readouterr().err
    assert "was refused: config.json names code to run (auto_map)" in said
    assert "Traceback" not in said


def attack(count, folders):
    done = subprocess.run(
        [sys.executable, str(HOSTILE), str(count), *map(str, folders)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    tally = json.loads(done.stdout.splitlines()[-1])
    assert sum(tally.values()) == count
    assert tally["refused"] > count / 3
    assert tally["read"] > 0


def folders(model, save_modules):
    found = [model("bert"), model("vit"), model("deberta-v2")]
    save_modules(found[0], "mean", True, {"prompts": {"query": "query : "}, "default_prompt_name": "query"})
    return found


def test_200_mutated_files_crash_nothing_and_run_nothing(model, save_modules):
    attack(200, folders(model, save_modules))


@pytest.mark.slow
def test_1000_mutated_files_crash_nothing_and_run_nothing(model, save_modules):
    attack(1000, folders(model, save_modules))
