"""The command line: parse, call, print; what goes wrong becomes a sentence and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from headstart import __version__, commands
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
SCARCE = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
UNUSABLE = {
    *(errno.EACCES, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
    *(errno.ENOENT, errno.ENOTDIR, errno.EPERM, errno.EROFS),
}


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
        answer: commands.Answer = options.run(options)
    if options.json and answer is not commands.SILENT:
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


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="headstart",
        description="Transfer learning, the whole loop: pick a source, transfer it, prove that it helped, ship it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"headstart {__version__}")
    commands.add_to(parser.add_subparsers(metavar="COMMAND", required=True))
    return parser


if __name__ == "__main__":
    sys.exit(main())
