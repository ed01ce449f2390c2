"""The command line: parse, call, print."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from headstart import __version__
from headstart.errors import HeadstartError, ResourceError, UsageError
from headstart.runtime import calm_threads

__all__ = ["main"]

EPILOG = """\
examples:
  headstart fit photos/                       a folder of class folders
  headstart fit tickets.csv --label queue     a table with a text column
  headstart predict runs/photos/bundle a.jpg  label and probabilities
  headstart demo                              two real tasks, nothing else needed

exit codes: 0 ok, 1 a bug of ours, 2 usage, 3 data, 4 bundle refused,
            5 resources, 6 diverged, 130 interrupted, 143 terminated
"""
SETTINGS = "source method budget seed input label group split problem metric test_share"
SCARCE = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
UNUSABLE = {
    *(errno.EACCES, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
    *(errno.ENOENT, errno.ENOTDIR, errno.EPERM, errno.EROFS),
}


class Answer(NamedTuple):
    """What a command found."""

    document: Any
    """What ``--json`` prints."""
    show: Callable[[], None]
    """Prints it for people."""
    exit_code: int = 0


Command = Callable[[argparse.Namespace], Answer]


class _Terminated(KeyboardInterrupt):
    """SIGTERM came."""


class _Parser(argparse.ArgumentParser):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. See: {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code: 0, or the one of the error (see `headstart.errors`), or 128 + a signal.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    with _surroundings():
        try:
            return _run(given)
        except (BrokenPipeError, SystemExit):  # who reads the output has seen enough; rich says so by SystemExit
            return 128 + signal.SIGPIPE
        except KeyboardInterrupt as stop:
            ended = isinstance(stop, _Terminated)
            said = "stopped; a fit goes on where it was when the same command is run again"
            kind, number = ("Terminated", signal.SIGTERM) if ended else ("Interrupted", signal.SIGINT)
            return _failed(kind, said, 128 + number, given)
        except Exception as error:  # noqa: BLE001  the last resort: a sentence, not a traceback
            ours = _as_ours(error)
            return _failed(type(ours).__name__, str(ours), ours.exit_code, given)


@contextlib.contextmanager
def _surroundings() -> Iterator[None]:
    """SIGTERM ends the work as Ctrl-C does, letters a terminal lacks do not, and warnings are for developers."""
    import warnings

    def terminate(*_: object) -> NoReturn:
        raise _Terminated

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    main_thread = threading.current_thread() is threading.main_thread()  # the only one that may set signals
    previous = signal.signal(signal.SIGTERM, terminate) if main_thread else None
    with warnings.catch_warnings():
        warnings.showwarning = lambda *_, **__: None
        try:
            yield
        finally:
            if main_thread:
                signal.signal(signal.SIGTERM, previous)
            try:
                sys.stdout.flush()
            except OSError:  # said already; the interpreter would try again at its exit, and say it differently
                sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def _run(given: Sequence[str]) -> int:
    parser = _parser()
    if not given:
        parser.print_help(sys.stderr)
        return UsageError.exit_code
    try:
        options = parser.parse_args(given)
    except SystemExit as done:  # --help, --version
        return int(done.code or 0)
    calm_threads()
    if options.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        answer: Answer = options.run(options)
    if options.json:
        _print_json(answer.document)
    else:
        answer.show()
    sys.stdout.flush()
    return answer.exit_code


def _as_ours(error: Exception) -> HeadstartError:
    """The error of our tree that says what happened; what no user caused is a bug, with its traceback in a file."""
    if isinstance(error, HeadstartError):
        return error
    exhausted = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)  # torch's
    if isinstance(error, MemoryError) or exhausted:
        return ResourceError("memory ran out; close other programs, or use a smaller source")
    if isinstance(error, OSError) and error.errno in SCARCE:
        return ResourceError(f"{error.strerror}{f': {error.filename}' if error.filename else ''}")
    if isinstance(error, OSError) and error.errno in UNUSABLE and error.filename:
        return UsageError(
            f"cannot use {error.filename}: {error.strerror}. Check that it is there and its permissions, or choose "
            "another place (--out for results, HEADSTART_CACHE for the cache)"
        )
    first = str(error).strip().partition("\n")[0][:300]
    return HeadstartError(f"this is a bug of ours: {type(error).__name__}: {first}. Details: {_log(error)}")


def _log(error: Exception) -> str:
    """The path of a new file with the traceback and what else a report of the bug needs."""
    import platform
    import tempfile
    import traceback

    facts = [f"headstart {__version__}", f"python {platform.python_version()}", platform.platform(), repr(sys.argv)]
    text = "\n".join([*facts, "", *traceback.format_exception(error)])
    try:
        with tempfile.NamedTemporaryFile(prefix="headstart-", suffix=".log", delete=False) as log:
            log.write(text.encode("utf-8", "backslashreplace"))
    except OSError as why:
        return f"(no log could be written: {why.strerror})"
    return log.name


def _failed(kind: str, message: str, exit_code: int, given: Sequence[str]) -> int:
    from headstart.console import show_error

    if "--json" in given:
        with contextlib.suppress(OSError):  # it may be stdout that failed
            _print_json({"error": {"kind": kind, "message": message, "exit_code": exit_code}})
    show_error(f"headstart: {message}")
    return exit_code


def _print_json(document: Any) -> None:
    import json

    text = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(document, indent=1)
    print(text, flush=True)


# --- commands ----------------------------------------------------------------------------------


def _fit(options: argparse.Namespace) -> Answer:
    from headstart import console, planning, transfer

    data, settings = options.data, _settings(options)
    if options.resume:
        data, settings = planning.resumed(data, options.out, settings)
    if data is None:
        raise UsageError("fit needs DATA: a folder of class folders or a table file (or --resume with --out RUN)")
    with console.listener(options.quiet) as listener:
        if options.dry_run:
            plan = planning.plan(data, listener=listener, toml=options.config, **settings)
            return Answer(plan, lambda: console.show_plan(plan))
        result = transfer.fit(data, out=options.out, listener=listener, toml=options.config, **settings)
    return Answer(result.json(), lambda: console.show_fit(result))


def _rank(options: argparse.Namespace) -> Answer:
    from headstart import console, transfer
    from headstart.outcome import ranking_json

    with console.listener(options.quiet) as listener:
        ranking = transfer.rank(options.data, listener=listener, toml=options.config, **_settings(options))
    facts = {name: getattr(ranking, name) for name in ("chosen", "examples", "score")}
    return Answer({"ranking": ranking_json(ranking), **facts}, lambda: console.show_ranking(ranking))


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
    from headstart.sources import listing

    rows = listing(options.modality)
    return Answer(rows, lambda: console.show_sources(rows))


def _report(options: argparse.Namespace) -> Answer:
    from headstart import report

    path = report.write(Path(options.run_folder))
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


# --- parser ------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="headstart",
        description="Transfer learning, the whole loop: pick a source, transfer it, prove that it helped, ship it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"headstart {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    fit = _command(commands, "fit", _fit, "make a model from labelled examples and prove whether transfer helped")
    what = "folder of class folders, or CSV, TSV, JSONL or Parquet file"
    fit.add_argument("data", nargs="?", metavar="DATA", help=what)
    fit.add_argument("--out", metavar="RUN", help="run folder (default: runs/NAME); finished steps in it are reused")
    _learning(fit)
    fit.add_argument("--method", metavar="NAME", help="how to adapt: auto, probe (default: auto)")
    fit.add_argument("--resume", action="store_true", help="go on with the run in --out, with its data and settings")
    fit.add_argument("--dry-run", action="store_true", help="say what would be done and what it would cost, and stop")

    rank = _command(commands, "rank", _rank, "rank sources for labelled examples, without training")
    rank.add_argument("data", metavar="DATA", help="as for fit")
    _learning(rank)

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

    sources = _command(commands, "sources", _sources, "list the sources usable here, and what the others need")
    sources.add_argument("--modality", choices=("image", "text"), help="only those for these inputs")

    report = _command(commands, "report", _report, "write the HTML report of a run again")
    report.add_argument("run_folder", metavar="RUN", help="the run folder that fit wrote")

    _command(commands, "doctor", _doctor, "check this machine and this installation")

    demo = _command(commands, "demo", _demo, "fit two real tasks from installed packages")
    demo.add_argument("--only", metavar="TASK", help="solar-cells or topics")
    demo.add_argument("--out", metavar="FOLDER", default="runs/demo", help="for data and runs (default: runs/demo)")
    return parser


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
    add("--budget", metavar="TIME", help="for ranking and adapting: 30s, 2m, 1h (default: none)")
    add("--seed", type=int, metavar="N", help="decides splits and every random number (default: 0)")
    add("--test-share", type=float, metavar="X", help="share held out for the proof (default: 0.2)")
    add("--config", type=Path, metavar="TOML", help="file with a [fit] table of these settings")


if __name__ == "__main__":
    sys.exit(main())
