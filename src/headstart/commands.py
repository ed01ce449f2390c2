"""The commands of the command line: what each one takes, calls and shows."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from headstart.errors import ResourceError, UsageError

__all__ = ["Answer", "add_to"]

SETTINGS = "source score method augment budget seed input label group split problem metric test_share proof"


class Answer(NamedTuple):
    """What a command found."""

    document: Any
    """What ``--json`` prints."""
    show: Callable[[], None]
    """Prints it for people."""
    exit_code: int = 0


SILENT = Answer(None, lambda: None)
"""Of a process that another one speaks for."""

Command = Callable[[argparse.Namespace], Answer]


def add_to(commands: Any) -> None:
    """Adds every command and its options to the subparsers of an `argparse` parser."""
    for family in (_learn, _use, _look):
        family(commands)


def _learn(commands: Any) -> None:
    """Commands on labelled examples."""
    fit = _command(commands, "fit", _fit, "make a model from labelled examples and prove whether transfer helped")
    what = "folder of class folders, or CSV, TSV, JSONL or Parquet file"
    fit.add_argument("data", nargs="?", metavar="DATA", help=what)
    fit.add_argument("--out", metavar="RUN", help="run folder (default: runs/NAME); finished steps in it are reused")
    _learning(fit)
    fit.add_argument("--proof", metavar="HOW", help="full, quick (nothing trained from scratch) or off (default: full)")
    fit.add_argument("--method", metavar="NAME", help="how to adapt: auto, probe (default: auto)")
    switch = argparse.BooleanOptionalAction
    fit.add_argument("--augment", action=switch, default=None, help="vary training examples (default: yes)")
    fit.add_argument("--resume", action="store_true", help="go on with the run in --out, with its data and settings")
    fit.add_argument("--dry-run", action="store_true", help="say what would be done and what it would cost, and stop")

    rank = _command(commands, "rank", _rank, "rank sources for labelled examples, without training")
    rank.add_argument("data", metavar="DATA", help="as for fit")
    _learning(rank)
    rank.add_argument("--experimental", action="store_true", help="compute the experimental scores too")
    rank.add_argument("--plot", metavar="SVG", type=Path, help="where to draw (default: runs/NAME.ranking.svg)")

    audit = _command(commands, "audit", _audit, "look for what is wrong with labelled examples: copies, labels, splits")
    audit.add_argument("data", metavar="DATA", help="as for fit")
    _learning(audit)


def _use(commands: Any) -> None:
    """Commands on a bundle."""
    predict = _command(commands, "predict", _predict, "predict with a bundle")
    predict.add_argument("bundle", metavar="BUNDLE", help="the bundle folder that fit wrote")
    what = "image file, folder, table file, .txt file, a text, or - for the lines of the standard input"
    predict.add_argument("inputs", nargs="+", metavar="INPUT", help=what)
    predict.add_argument("--input", metavar="COLUMN", help="column of a table that holds the text or image path")

    evaluate = _command(commands, "evaluate", _evaluate, "measure a bundle on labelled examples")
    evaluate.add_argument("bundle", metavar="BUNDLE", help="the bundle folder that fit wrote")
    evaluate.add_argument("data", metavar="DATA", help="as for fit; its test rows where it names some, else all rows")
    _columns(evaluate)

    for name, run, text in (
        ("inspect", _inspect, "what is in a bundle, without loading it"),
        ("verify", _verify, "check a bundle: hashes, safety, golden predictions"),
    ):
        _command(commands, name, run, text).add_argument("bundle", metavar="BUNDLE", help="the bundle folder")


def _look(commands: Any) -> None:
    """Commands on runs, sources and this machine."""
    sources = _command(commands, "sources", _sources, "list the sources usable here, and what the others need")
    sources.add_argument("--modality", choices=("image", "text"), help="only those for these inputs")

    report = _command(
        commands, "report", _report, "write the HTML report of a run again, or of several beside each other"
    )
    report.add_argument("runs", nargs="+", metavar="RUN", help="run folders that fit wrote; several are compared")
    where = "HTML file to write (default: report.html in the run; comparison.html beside the first of several)"
    report.add_argument("--out", type=Path, metavar="FILE", help=where)

    _command(commands, "doctor", _doctor, "check this machine and this installation")

    demo = _command(commands, "demo", _demo, "fit two real tasks from installed packages")
    demo.add_argument("--only", metavar="TASK", help="solar-cells or topics")
    demo.add_argument("--out", metavar="FOLDER", default="runs/demo", help="for data and runs (default: runs/demo)")


def _command(commands: Any, name: str, run: Command, text: str) -> argparse.ArgumentParser:
    described = f"{text[0].upper()}{text[1:]}."
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=described)
    command.set_defaults(run=run)
    command.add_argument("--json", action="store_true", help="one JSON document on stdout and nothing else there")
    command.add_argument("--quiet", action="store_true", help="nothing on stderr but errors")
    command.add_argument("--offline", action="store_true", help="never use the network")
    return command


def _columns(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--input", metavar="COLUMN", help="column of the text or image path (default: guessed and said)")
    add("--label", metavar="COLUMN", help="column of the label (default: guessed and said)")
    add("--split", metavar="COLUMN", help="column that says train, validation or test (default: 'split')")


def _learning(command: argparse.ArgumentParser) -> None:
    _columns(command)
    add = command.add_argument
    add("--group", metavar="COLUMN", help="column whose equal values no split may tear apart")
    add("--problem", metavar="KIND", help="classification, multilabel or regression (default: guessed)")
    add("--metric", metavar="NAME", help="metric that decides (default: by problem and class balance)")
    add("--source", metavar="NAMES", help="auto, a source, or several: a,b,c (default: auto)")
    add("--score", metavar="NAME", help="what orders sources: fused, prior, or a score (default: fused)")
    add("--budget", metavar="TIME", help="for ranking and adapting: 30s, 2m, 1h (default: 5m)")
    add("--seed", type=int, metavar="N", help="decides splits and every random number (default: 0)")
    add("--test-share", type=float, metavar="X", help="share held out for the proof (default: 0.2)")
    add("--config", type=Path, metavar="TOML", help="file with a [fit] table of these settings")


def _fit(options: argparse.Namespace) -> Answer:
    from headstart import console, parallel, planning, transfer

    data, settings = options.data, _settings(options)
    if options.resume:
        data, settings = planning.resumed(data, options.out, settings)
    if data is None:
        raise UsageError("fit needs DATA: a folder of class folders or a table file (or --resume with --out RUN)")
    with parallel.joined() as number, console.listener(options.quiet or number > 0) as listener:
        if number:
            from headstart.following import follow

            follow(data, toml=options.config, **settings)
            return SILENT
        if options.dry_run:
            plan = planning.plan(data, listener=listener, toml=options.config, **settings)
            return Answer(plan, lambda: console.show_plan(plan))
        result = transfer.fit(data, out=options.out, listener=listener, toml=options.config, **settings)
    return Answer(result.json(), lambda: console.show_fit(result))


def _rank(options: argparse.Namespace) -> Answer:
    from headstart import console, transfer
    from headstart.outcome import ranking_json
    from headstart.report import plot_ranking

    with console.listener(options.quiet) as listener:
        asked = {"experimental": options.experimental, **_settings(options)}
        ranking = transfer.rank(options.data, listener=listener, toml=options.config, **asked)
    plot = plot_ranking(ranking, options.plot or Path("runs") / f"{transfer.name_of(options.data)}.ranking.svg")
    facts = {name: getattr(ranking, name) for name in ("chosen", "shortlist", "examples", "score", "order")}
    document = {"ranking": ranking_json(ranking), **facts, "plot": str(plot)}
    return Answer(document, lambda: console.show_ranking(ranking, plot))


def _audit(options: argparse.Namespace) -> Answer:
    from headstart import console, transfer
    from headstart.outcome import audit_json

    with console.listener(options.quiet) as listener:
        found = transfer.audit(options.data, listener=listener, toml=options.config, **_settings(options))
    return Answer(audit_json(found), lambda: console.show_audit(found))


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings of `headstart.config.FitConfig` that the command has; None where the user gave none."""
    return {name: getattr(options, name, None) for name in SETTINGS.split()}


def _predict(options: argparse.Namespace) -> Answer:
    from headstart import console
    from headstart.inference import load, predictions

    model = load(options.bundle)
    with console.listener(options.quiet) as listener:
        rows = predictions(model, options.inputs, options.input, listener)
    return Answer(rows, lambda: console.show_predictions(rows))


def _evaluate(options: argparse.Namespace) -> Answer:
    from headstart import console
    from headstart.inference import load
    from headstart.outcome import plain

    roles = {name: getattr(options, name) for name in ("input", "label", "split")}
    model = load(options.bundle)
    with console.listener(options.quiet) as listener:
        found = plain(model.evaluate(options.data, listener, **roles))
    return Answer(found, lambda: console.show_metrics(found))


def _inspect(options: argparse.Namespace) -> Answer:
    from headstart import console
    from headstart.exporters import bundle

    facts = bundle.summary(bundle.read(Path(options.bundle)))
    return Answer(facts, lambda: console.show_facts(facts))


def _verify(options: argparse.Namespace) -> Answer:
    from headstart.inference import load

    difference = load(options.bundle).verify()
    said = f"verified: every file is as the manifest says; golden predictions differ by {difference:.1e} at most"
    document = {"bundle": str(options.bundle), "verified": True, "largest_difference": difference}
    return Answer(document, lambda: print(said))


def _sources(options: argparse.Namespace) -> Answer:
    from headstart import console
    from headstart.sources import forms, listing

    rows = listing(options.modality)
    return Answer(rows, lambda: console.show_sources(rows, forms()))


def _report(options: argparse.Namespace) -> Answer:
    from headstart import report

    runs = [Path(folder) for folder in options.runs]
    path = report.write(runs[0], options.out) if len(runs) == 1 else report.compare(runs, options.out)
    return Answer({"report": str(path)}, lambda: print(path))


def _doctor(_: argparse.Namespace) -> Answer:
    from headstart import console, doctor

    findings = doctor.examine()
    return Answer(findings, lambda: console.show_doctor(findings), 0 if findings["ok"] else ResourceError.exit_code)


def _demo(options: argparse.Namespace) -> Answer:
    from headstart import console, demo

    def show() -> None:
        for name, result in results.items():
            console.show_fit(result, name)

    with console.listener(options.quiet) as listener:
        results = demo.run(Path(options.out), only=options.only, say=listener.say, listener=listener)
    return Answer({name: result.json() for name, result in results.items()}, show)
