"""Puts the commands together, and turns exceptions into one sentence and an exit code."""

from __future__ import annotations

import difflib
import errno
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from bench.cli.agreement import agreement
from bench.cli.check import check
from bench.cli.claims import claims
from bench.cli.commands import Command
from bench.cli.compare import compare
from bench.cli.doctor import doctor
from bench.cli.export import EXPORT
from bench.cli.import_scores import import_scores
from bench.cli.leaderboard import leaderboard
from bench.cli.list import list_entries
from bench.cli.options import QuietOption, VerboseOption, heard, with_common_options
from bench.cli.plan import plan
from bench.cli.reference import reference
from bench.cli.report import report
from bench.cli.rm import rm
from bench.cli.run import run
from bench.cli.score import score
from bench.cli.study import STUDY
from bench.cli.train import train
from bench.cli.watch import watch
from bench.formatting import one_line
from bench.runtime.log import shown
from metrics.errors import punctuated

INTERRUPTED = 130
# An operating system's refusals that are about the user's disk or rights, not about our code.
DISK_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP}
COMMANDS: dict[str, Callable[..., int]] = {
    "run": run,
    "plan": plan,
    "score": score,
    "import-scores": import_scores,
    "report": report,
    "check": check,
    "compare": compare,
    "claims": claims,
    "agreement": agreement,
    "leaderboard": leaderboard,
    "reference": reference,
    "train": train,
    "watch": watch,
    "list": list_entries,
    "rm": rm,
    "doctor": doctor,
}
# Commands of several words: name -> what its help says, and the commands below it.
GROUPS: dict[str, tuple[str, dict[str, Callable[..., int]]]] = {
    "study": ("Ask people which images they prefer.", STUDY),
    "export": ("Write results and images in the formats of the community.", EXPORT),
}


def _top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", "-V", help="Print the version and exit.")] = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """How much diversity did a reward-tuned text-to-image model pay for its quality?

    Start with: bench run --method base,refl,combined,imagerefl, then: bench report
    """
    context.with_resource(heard(quiet, verbose))
    if version:
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as installed

        try:
            typer.echo(f"imagerefl-bench {installed('imagerefl-bench')}")
        except PackageNotFoundError:
            typer.echo("imagerefl-bench (not installed: running from its source folder)")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def build() -> typer.Typer:
    """The application with all its commands."""
    app = typer.Typer(
        name="bench",
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich" if sys.stdout is not None and sys.stdout.isatty() else None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    )
    app.callback(invoke_without_command=True)(_top)
    for name, command in COMMANDS.items():
        app.command(name, cls=Command)(with_common_options(command))
    for name, (text, commands) in GROUPS.items():
        group = typer.Typer(name=name, help=text, rich_markup_mode=app.rich_markup_mode, no_args_is_help=True)
        for word, command in commands.items():
            group.command(word, cls=Command)(command)
        app.add_typer(group)
    return app


def execute(arguments: Sequence[str] | None = None) -> int:
    """Parse and run one command; returns the exit code. Exceptions that are not the user's doing are let through."""
    with shown():
        return _execute(arguments)


def _execute(arguments: Sequence[str] | None) -> int:
    command = typer.main.get_command(build())
    try:
        code = command(
            args=None if arguments is None else [*arguments],
            prog_name="bench",
            standalone_mode=False,
        )
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except typer.TyperException as wrong:
        return _fail(_usage(wrong), wrong.exit_code)
    except BrokenPipeError:  # the reader of our output went away (`bench list | head`): not worth a word
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except Exception as wrong:
        sentence = _sentence(wrong)
        if sentence is None:
            raise
        return _fail(*sentence)
    code = int(code or 0)
    if code == INTERRUPTED:
        _fail("interrupted; the same command resumes where this one stopped", code)
    return code


def _sentence(wrong: Exception) -> tuple[str, int] | None:
    """The message and the exit code of a user's mistake or a refusing disk; None for a bug."""
    code = getattr(wrong, "exit_code", None)
    if isinstance(code, int):
        return punctuated(str(wrong)), code
    if isinstance(wrong, MemoryError) or (isinstance(wrong, OSError) and wrong.errno == errno.ENOMEM):
        return "there is not enough memory: close other programs, or take fewer images at a time (--batch-size)", 4
    if _no_thread(wrong):
        return "the system allows no more threads or processes: end others, or raise the limit (`ulimit -u`)", 2
    if isinstance(wrong, OSError) and wrong.errno in (errno.EMFILE, errno.ENFILE):
        return "too many files are open: close other programs, or raise the limit (`ulimit -n`)", 2
    if isinstance(wrong, RuntimeError) and str(wrong).startswith("Symlink loop"):  # of pathlib, up to Python 3.12
        return f"{one_line(str(wrong))}: a symbolic link leads back to itself", 2
    if isinstance(wrong, OSError) and wrong.errno in DISK_TROUBLE:
        location = f" '{wrong.filename}'" if wrong.filename else ""
        return f"cannot write or read{location}: {os.strerror(wrong.errno)}", 2
    return None


def _no_thread(wrong: Exception) -> bool:
    if isinstance(wrong, OSError):
        return wrong.errno == errno.EAGAIN
    return isinstance(wrong, RuntimeError) and "can't start new thread" in str(wrong)


def _usage(wrong: typer.TyperException) -> str:
    """A usage error as a sentence that says where help is."""
    text = wrong.format_message().strip().replace("Value error, ", "")
    wrong_option = getattr(wrong, "option_name", None)
    if wrong_option is not None and (options := getattr(wrong, "possibilities", None)):
        close = difflib.get_close_matches(wrong_option, sorted(options), n=1, cutoff=0.5) or sorted(options)[:1]
        text = f"No such option: {wrong_option}. Did you mean '{close[0]}'?"
    text = text if text.endswith((".", "?", ")")) else f"{text}."
    path = getattr(getattr(wrong, "ctx", None), "command_path", "bench")
    return f"{text} See '{path} --help'."


def _fail(text: str, code: int) -> int:
    sys.stdout.flush() if sys.stdout is not None else None
    print(f"error: {one_line(text)}", file=sys.stderr)
    return code
