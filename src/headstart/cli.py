"""The command line: parse, call, print."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from headstart import __version__
from headstart.errors import HeadstartError, ResourceError, UsageError

__all__ = ["main"]

EPILOG = """\
examples:
  headstart fit photos/                       a folder of class folders
  headstart fit tickets.csv --label queue     a table with a text column
  headstart predict runs/photos/bundle a.jpg  label and probabilities
  headstart demo                              two real tasks, nothing else needed

exit codes: 0 ok, 1 a bug of ours, 2 usage, 3 data, 4 bundle refused, 5 resources, 6 diverged
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code: 0, or the one of the error (see `headstart.errors`), or 128 + a signal.
    """
    options = _parser().parse_args(arguments)
    _environment(options)
    previous = signal.signal(signal.SIGTERM, _terminated)
    try:
        options.run(options)
    except KeyboardInterrupt:
        print("\nstopped; finished steps are kept: run the same command again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  the interpreter flushes it at exit
        return 141
    except MemoryError:
        return _failed(ResourceError("memory ran out; close other programs, or use a smaller source"), options)
    except HeadstartError as error:
        return _failed(error, options)
    except Exception as error:  # noqa: BLE001  the last resort: a sentence, not a traceback
        return _bug(error, options)
    finally:
        signal.signal(signal.SIGTERM, previous)
    return 0


def _terminated(*_: object) -> None:
    raise SystemExit(143)


def _failed(error: HeadstartError, options: argparse.Namespace) -> int:
    if getattr(options, "json", False):
        _print_json({"error": {"kind": type(error).__name__, "message": str(error), "exit_code": error.exit_code}})
    print(f"headstart: {error}", file=sys.stderr)
    return error.exit_code


def _bug(error: Exception, options: argparse.Namespace) -> int:
    import tempfile
    import traceback

    if os.environ.get("HEADSTART_DEBUG"):
        traceback.print_exc()
    with tempfile.NamedTemporaryFile("w", prefix="headstart-", suffix=".log", delete=False, encoding="utf-8") as log:
        traceback.print_exc(file=log)
    return _failed(HeadstartError(f"this is a bug of ours: {type(error).__name__}: {error}. Details: {log.name}"), options)


def _environment(options: argparse.Namespace) -> None:
    if getattr(options, "offline", False):
        os.environ["HF_HUB_OFFLINE"] = "1"


def _print_json(document: Any) -> None:
    import json

    print(json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False))


# --- commands ----------------------------------------------------------------------------------


def _fit(options: argparse.Namespace) -> None:
    from headstart import console, planning, transfer

    listener = console.listener(options.quiet)
    settings = _settings(options)
    if options.resume:
        options.data, settings = planning.resumed(options.data, options.out, settings)
    if options.data is None:
        raise UsageError("fit needs DATA: a folder of class folders or a table file (or --resume with --out RUN)")
    if options.dry_run:
        plan = planning.plan(options.data, listener=listener, toml=options.config, **settings)
        _print_json(plan) if options.json else console.show_plan(plan)
        return
    result = transfer.fit(options.data, out=options.out, listener=listener, toml=options.config, **settings)
    listener.close()
    _print_json(result.json()) if options.json else console.show_fit(result)


def _rank(options: argparse.Namespace) -> None:
    from headstart import console, transfer
    from headstart.outcome import ranking_json

    listener = console.listener(options.quiet)
    ranking = transfer.rank(options.data, listener=listener, toml=options.config, **_settings(options))
    listener.close()
    document = {"ranking": ranking_json(ranking), "chosen": ranking.chosen, "examples": ranking.examples, "score": ranking.score}
    _print_json(document) if options.json else console.show_ranking(ranking)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    names = ("source", "method", "budget", "seed", "input", "label", "group", "split", "problem", "metric", "test_share")
    return {name: getattr(options, name, None) for name in names}


def _predict(options: argparse.Namespace) -> None:
    from headstart import console
    from headstart.inference import load, predictions

    rows = predictions(load(options.bundle), options.inputs, options.input)
    _print_json(rows) if options.json else console.show_predictions(rows)
    if rows and all("error" in row for row in rows):
        raise UsageError("none of the inputs could be predicted; see the reasons above")


def _evaluate(options: argparse.Namespace) -> None:
    from headstart import console
    from headstart.inference import load
    from headstart.outcome import plain

    roles = {name: getattr(options, name) for name in ("input", "label", "split")}
    found = plain(load(options.bundle).evaluate(options.data, **roles))
    _print_json(found) if options.json else console.show_metrics(found)


def _inspect(options: argparse.Namespace) -> None:
    from headstart import console
    from headstart.exporters import bundle

    facts = bundle.summary(bundle.read(Path(options.bundle)))
    _print_json(facts) if options.json else console.show_facts(facts)


def _verify(options: argparse.Namespace) -> None:
    from headstart.inference import load

    difference = load(options.bundle).verify()
    document = {"bundle": str(options.bundle), "verified": True, "largest_difference": difference}
    if options.json:
        _print_json(document)
    else:
        print(f"verified: every file is as the manifest says, golden predictions differ by {difference:.1e} at most")


def _sources(options: argparse.Namespace) -> None:
    from headstart import console
    from headstart.sources import listing

    rows = listing(options.modality)
    _print_json(rows) if options.json else console.show_sources(rows)


def _report(options: argparse.Namespace) -> None:
    from headstart import report

    path = report.write(Path(options.run_folder))
    _print_json({"report": str(path)}) if options.json else print(path)


def _doctor(options: argparse.Namespace) -> None:
    from headstart import console, doctor

    findings = doctor.examine()
    _print_json(findings) if options.json else console.show_doctor(findings)


def _demo(options: argparse.Namespace) -> None:
    from headstart import console, demo

    listener = console.listener(options.quiet)
    results = demo.run(Path(options.out or "runs/demo"), only=options.only, say=listener.say, listener=listener)
    listener.close()
    if options.json:
        _print_json({name: result.json() for name, result in results.items()})
        return
    for name, result in results.items():
        console.show_fit(result, title=name)


# --- parser ------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headstart",
        description="Transfer learning, the whole loop: pick a source, transfer it, prove that it helped, ship it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"headstart {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    fit = _command(commands, "fit", _fit, "make a model from labelled examples and prove whether transfer helped")
    fit.add_argument("data", nargs="?", metavar="DATA", help="folder of class folders, or CSV, TSV, JSONL, Parquet file")
    fit.add_argument("--out", metavar="RUN", help="run folder (default: runs/NAME); finished steps in it are reused")
    _learning(fit)
    fit.add_argument("--method", metavar="NAME", help="how to adapt: auto, probe (default: auto)")
    fit.add_argument("--resume", action="store_true", help="go on with the run in --out, with its data and settings")
    fit.add_argument("--dry-run", action="store_true", help="say what would be done and what it would cost, and stop")

    rank = _command(commands, "rank", _rank, "rank sources for labelled examples, without training")
    rank.add_argument("data", metavar="DATA", help="as for fit")
    _learning(rank)

    predict = _command(commands, "predict", _predict, "predict with a bundle")
    predict.add_argument("bundle", metavar="BUNDLE")
    predict.add_argument("inputs", nargs="+", metavar="INPUT", help="image file, folder, table file, a text, or - for texts from stdin")
    predict.add_argument("--input", metavar="COLUMN", help="column of a table that holds the text or image path")

    evaluate = _command(commands, "evaluate", _evaluate, "measure a bundle on labelled examples")
    evaluate.add_argument("bundle", metavar="BUNDLE")
    evaluate.add_argument("data", metavar="DATA", help="as for fit; its test rows where it names some, else all rows")
    _columns(evaluate)

    for name, run, text in (
        ("inspect", _inspect, "what is in a bundle, without loading it"),
        ("verify", _verify, "check a bundle: hashes, safety, golden predictions"),
    ):
        _command(commands, name, run, text).add_argument("bundle", metavar="BUNDLE")

    sources = _command(commands, "sources", _sources, "list the sources usable here, and what the others need")
    sources.add_argument("--modality", choices=("image", "text"))

    report = _command(commands, "report", _report, "write the HTML report of a run again")
    report.add_argument("run_folder", metavar="RUN")

    _command(commands, "doctor", _doctor, "check this machine and installation")

    demo = _command(commands, "demo", _demo, "fit two real tasks from installed packages")
    demo.add_argument("--only", metavar="TASK", help="solar-cells or topics")
    demo.add_argument("--out", metavar="FOLDER", help="where data and runs go (default: runs/demo)")
    return parser


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    command.set_defaults(run=run)
    command.add_argument("--json", action="store_true", help="one JSON document on stdout and nothing else there")
    command.add_argument("--quiet", action="store_true", help="no progress on stderr")
    command.add_argument("--offline", action="store_true", help="never use the network")
    return command


def _columns(command: argparse.ArgumentParser) -> None:
    command.add_argument("--input", metavar="COLUMN", help="column of the text or image path (default: guessed and said)")
    command.add_argument("--label", metavar="COLUMN", help="column of the label (default: guessed and said)")
    command.add_argument("--split", metavar="COLUMN", help="column that says train, validation or test")


def _learning(command: argparse.ArgumentParser) -> None:
    _columns(command)
    command.add_argument("--group", metavar="COLUMN", help="column whose equal values no split may tear apart")
    command.add_argument("--problem", metavar="KIND", help="classification, multilabel or regression (default: guessed)")
    command.add_argument("--metric", metavar="NAME", help="metric that decides (default: by problem and class balance)")
    command.add_argument("--source", metavar="NAMES", help="auto, a source, or several: a,b,c (default: auto)")
    command.add_argument("--budget", metavar="TIME", help="for ranking and adapting: 30s, 2m, 1h (default: none)")
    command.add_argument("--seed", type=int, metavar="N", help="decides splits and every random number (default: 0)")
    command.add_argument("--test-share", dest="test_share", type=float, metavar="X", help="share held out for the proof (default: 0.2)")
    command.add_argument("--config", type=Path, metavar="TOML", help="file with a [fit] table of these settings")


if __name__ == "__main__":
    sys.exit(main())
