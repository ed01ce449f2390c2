"""The model card: ``README.md`` of a bundle, in the form Hugging Face shows."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["model_card"]

Facts = Mapping[str, Any]
LICENCE = re.compile(
    r"apache-2\.0|mit|isc|zlib|unlicense|openrail|gemma|cc0-1\.0|cc|bsd-[23]-clause|mpl-2\.0|(?:a|l)?gpl-[23]\.[01]"
    r"|cc-by(?:-nc)?(?:-sa|-nd)?-[234]\.0|cdla-permissive-2\.0|llama(?:2|3(?:\.[123])?)"
)
"""Licence names that a Hugging Face card may carry; any other is ``other`` with a name."""
NON_COMMERCIAL = re.compile(r"(?<![a-z])nc(?![a-z])|non-?\s?commercial|research[- ]only|academic", re.IGNORECASE)
PIPELINES = {
    ("image", "classification"): "image-classification",
    ("image", "multilabel"): "image-classification",
    ("text", "classification"): "text-classification",
    ("text", "multilabel"): "text-classification",
    ("text", "regression"): "text-classification",
}
"""Hugging Face's name of the job; it has none for a number from an image."""
BREAKS = re.compile(r"[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]+")
SPECIALS = re.compile(r"[!#$&*<=>@[-`{-~]|:(?=/)|(?<=www)\.", re.IGNORECASE)
JOINERS = "\u200c\u200d"
"""Invisible, but part of the spelling of many scripts and of emoji."""
SHOWN_LABELS = 100
SHOWN_EXCLUSIONS = 20


def model_card(facts: Facts) -> str:
    """The text of ``README.md``; everything from outside is escaped for YAML, Markdown and HTML.

    Args:
        facts: Plain data; keys that are not named here are ignored. There must be ``title`` (str),
            ``task`` (fields of `headstart.types.Task`) and ``source`` (of `headstart.types.SourceCard`).
            There may be ``receipt`` (fields of `headstart.types.Receipt`), ``baseline`` (name of the arm that
            is the classical baseline), ``method`` and ``layer`` (str), ``data`` (``name``, ``licence``),
            ``excluded`` (sequence of ``id``, ``reason``) and ``versions`` (package -> version).

    Returns:
        Markdown with a YAML front matter; equal facts give equal text.
    """
    sections = {
        "Results": _results(facts),
        "Source": _source(facts),
        "Task and labels": _labels(facts["task"]),
        "How to use": _usage(facts["task"]),
        "Intended use and limits": _limits(facts["task"]),
        "Left out": _exclusions(facts.get("excluded") or ()),
        "Made with": _versions(facts.get("versions") or {}),
    }
    parts = [_front(facts), f"# {_text(facts['title'])}", _what(facts), _warning(facts)]
    parts += [f"## {title}\n\n{body}" for title, body in sections.items() if body]
    return "\n\n".join(part for part in parts if part) + "\n"


# --- escaping ----------------------------------------------------------------------------------


def _visible(text: object) -> str:
    r"""One line: breaks as a space; control, direction and unassigned characters as ``\u{code}``."""
    line = BREAKS.sub(" ", str(text))
    hidden = {char for char in line if unicodedata.category(char)[0] == "C"} - set(JOINERS)
    return line.translate({ord(char): f"\\u{{{ord(char):x}}}" for char in hidden})


def _text(text: object) -> str:
    """A foreign text within a paragraph or table cell, as itself: what Markdown or HTML could take up as entities."""
    return SPECIALS.sub(lambda special: f"&#{ord(special[0])};", _visible(text))


def _code(text: object) -> str:
    """A foreign text as a code span, where nothing is interpreted, not even a bare address; safe in table cells."""
    line = _visible(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    space = " " if not line.strip() or {line[0], line[-1]} & {"`", " "} else ""
    return f"{fence}{space}{line}{space}{fence}".replace("|", "\\|")


def _yaml(text: object) -> str:
    """A foreign text as a double-quoted YAML scalar."""
    return '"{}"'.format(_visible(text).replace("\\", "\\\\").replace('"', '\\"'))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _text(value)


def _is_non_commercial(licence: object) -> bool:
    return bool(NON_COMMERCIAL.search(str(licence)))


# --- sections ----------------------------------------------------------------------------------


def _front(facts: Facts) -> str:
    task = facts["task"]
    licences = [str((facts.get("data") or {}).get("licence") or ""), str(facts["source"].get("licence") or "")]
    strictest = next(filter(_is_non_commercial, licences), licences[-1])
    plain = re.sub(r"[\s_]+", "-", strictest.strip().lower())
    pipeline = PIPELINES.get((task["modality"], task["problem"]))
    lines = [
        f"license: {plain if LICENCE.fullmatch(plain) else 'other'}",
        *([] if LICENCE.fullmatch(plain) else [f"license_name: {_yaml(strictest or 'not stated')}"]),
        "library_name: headstart",
        *([f"pipeline_tag: {pipeline}"] if pipeline else []),
        "tags:",
        *(f"- {_yaml(tag)}" for tag in ("headstart", "transfer-learning", task["modality"], task["problem"])),
        "metrics:",
        f"- {_yaml(task['metric'])}",
    ]
    return "\n".join(["---", *lines, "---"])


def _what(facts: Facts) -> str:
    task, receipt = facts["task"], facts.get("receipt") or {}
    share = "any" if task["problem"] == "multilabel" else "one"
    picks = f"picks {share} of {len(task['labels']):,} labels"
    job = "predicts one number" if task["problem"] == "regression" else picks
    method = f" by the method {_code(facts['method'])}" if facts.get("method") else ""
    layer = f" on its layer {_code(facts['layer'])}" if facts.get("layer") else ""
    source = f"the pretrained source {_code(facts['source']['name'])}{method}{layer}"
    first = f"For every {_text(task['modality'])} it {job}. Headstart made it from {source}."
    if not receipt.get("sentence"):
        return first
    return f"{first}\n\n**Verdict: {_text(receipt.get('verdict') or 'none')}.** {_text(receipt['sentence'])}"


def _warning(facts: Facts) -> str:
    parts = (("the source", facts["source"]), ("the data", facts.get("data") or {}))
    bound = [f"{what} ({_text(part['licence'])})" for what, part in parts if _is_non_commercial(part.get("licence"))]
    if not bound:
        return ""
    return f"> **NON-COMMERCIAL: the licence of {' and of '.join(bound)} rules out commercial use, of this model too.**"


def _results(facts: Facts) -> str:
    receipt = facts.get("receipt") or {}
    arms, counts = receipt.get("arms") or (), receipt.get("counts") or {}
    if not arms:
        return "Not measured."
    metrics = list(dict.fromkeys(name for arm in arms for name in arm["test"]))
    roles = {facts.get("baseline"): " (classical baseline)", receipt.get("chosen"): " (this model)"}
    rows = [
        [_code(arm["name"]) + roles.get(arm["name"], ""), *(_number(arm["test"].get(metric, "")) for metric in metrics)]
        for arm in arms
    ]
    test, train, validation = (_number(counts.get(name, "?")) for name in ("test", "train", "validation"))
    parts = [
        f"On {test} test examples by which nothing was chosen; {train} were for training, {validation} for validation.",
        _table(["arm", *map(_text, metrics)], rows),
        *map(_gain, receipt.get("gains") or ()),
    ]
    if receipt.get("detectable_gain") is not None:
        parts.append(f"Smallest gain that 4 of 5 such tests would detect: {_number(receipt['detectable_gain'])}.")
    if receipt.get("scratch_twin"):
        parts.append(f"The same model trained from scratch: {_text(receipt['scratch_twin'])}")
    return "\n\n".join([*parts, *(f"Note: {_text(note)}" for note in receipt.get("notes") or ())])


def _gain(gain: Facts) -> str:
    chance = f", p = {_number(gain['p_value'])}" if gain.get("p_value") is not None else ""
    interval = f"{gain['level']:.0%} interval {gain['low']:+.4g} to {gain['high']:+.4g}{chance}"
    over = f"Gain over {_code(gain['over'])} in {_text(gain['metric'])}"
    return f"{over}: {gain['value']:+.4g} ({interval}; {_text(gain['test'])})."


def _source(facts: Facts) -> str:
    source, data = facts["source"], facts.get("data") or {}
    parameters, prior = source.get("parameters"), source.get("prior")
    known = {
        "Name": _code(source["name"]),
        "Title": _text(source.get("title") or ""),
        "Provided by": _text(source.get("provider") or ""),
        "Trained on": _text(source.get("trained_on") or ""),
        "Parameters": f"{parameters:,}" if isinstance(parameters, int) else "",
        "Licence": _text(source.get("licence") or "not stated"),
        "SHA-256 of its weights": _code(source["weights_sha256"]) if source.get("weights_sha256") else "",
        _text(source.get("prior_name") or "Published accuracy"): "" if prior is None else _number(prior),
        "Adapted on": _text(data.get("name") or ""),
        "Of the weights here": _text(facts.get("ledger") or ""),
        "Licence of these data": _text(data.get("licence") or ""),
    }
    return _table(["fact", "value"], [item for item in known.items() if item[1]])


def _labels(task: Facts) -> str:
    labels, problem = list(task["labels"]), _text(task["problem"]).capitalize()
    if not labels:
        return f"{problem}: one number, judged by {_text(task['metric'])}."
    rows = [[str(index), _code(label)] for index, label in enumerate(labels[:SHOWN_LABELS])]
    table = _table(["index", "label"], rows)
    more = f"\n\n{len(labels) - SHOWN_LABELS:,} more are in `config.json`." if len(labels) > SHOWN_LABELS else ""
    return f"{problem} with {len(labels):,} labels, judged by {_text(task['metric'])}.\n\n{table}{more}"


def _usage(task: Facts) -> str:
    given = "photo.jpg" if task["modality"] == "image" else "a text"
    return f"""```console
$ pip install headstart
$ headstart verify BUNDLE
$ headstart predict BUNDLE "{given}"
```

```python
import headstart

model = headstart.load("BUNDLE")
print(model.predict(["{given}"]))
```

`BUNDLE` is this folder. It holds data only (safetensors and JSON): loading it runs nothing that is in it,
and a folder that was changed is refused."""


def _limits(task: Facts) -> str:
    closed = "" if task["problem"] == "regression" else "\nAn input that fits none of its labels gets one all the same."
    return f"""Meant for {_text(task["modality"])}s like those it was adapted on: its figures tell of no others.{closed}
It may carry over what is one-sided in the data that its source was trained on. Before anything rests on it,
measure it on examples of your own: `headstart evaluate BUNDLE DATA`."""


def _exclusions(excluded: Sequence[Facts]) -> str:
    if not excluded:
        return ""
    rows = [[_code(item["id"]), _text(item["reason"])] for item in excluded[:SHOWN_EXCLUSIONS]]
    rest = len(excluded) - SHOWN_EXCLUSIONS
    more = f"\n\n{rest:,} more were left out." if rest > 0 else ""
    table = _table(["example", "reason"], rows)
    return f"Examples left out, each together with its label: {len(excluded):,}.\n\n{table}{more}"


def _versions(versions: Facts) -> str:
    return ", ".join(f"{_text(name)} {_text(version)}" for name, version in sorted(versions.items()))
