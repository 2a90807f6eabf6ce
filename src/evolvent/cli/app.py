"""The commands by name, and what becomes of an error or of Ctrl-C.

Not here: what a command does (the other files of this room).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from evolvent.cli import acting, again, begin, checks, goal, judging, reading, recipes, remembering, saying, serving
from evolvent.cli.base import Told, emit
from evolvent.cli.stopping import Stop, children_end_with_us
from evolvent.errors import EvolventError

__all__ = ["COMMANDS", "app", "main"]

# In the order of a first day with it.
COMMANDS: dict[str, Callable[..., Any]] = {
    "demo": begin.demo,
    "init": begin.init,
    "doctor": checks.doctor,
    "check": checks.check,
    "run": acting.run,
    "status": reading.status,
    "goal": goal.goal,
    "log": reading.log,
    "show": reading.show_one,
    "rebuild": again.rebuild,
    "diff": reading.diff,
    "lineage": reading.lineage,
    "diagnose": reading.diagnose,
    "pick": saying.pick,
    "approve": saying.approve,
    "decline": saying.decline,
    "promote": acting.promote,
    "rollback": acting.rollback,
    "report": acting.report,
    "serve": serving.serve,
    "audit": checks.audit,
}
_INTERRUPTED = 130
# Typer brings a click of its own from 0.16 on, so the parser's errors are reached through a name that it exports.
_Misuse: Any = typer.BadParameter.__base__


def _app() -> typer.Typer:
    plain: dict[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None}
    root = typer.Typer(name="evolvent", no_args_is_help=True, **plain)
    root.callback()(_root)
    for name, command in COMMANDS.items():
        root.command(name)(command)
    memory = typer.Typer(no_args_is_help=True, help="What was learned about changes.", **plain)
    memory.callback()(_memory)
    memory.command("show")(remembering.memory_show)
    memory.command("search")(remembering.memory_search)
    memory.command("export")(remembering.memory_export)
    memory.command("forget")(remembering.memory_forget)
    root.add_typer(memory, name="memory")
    judge = typer.Typer(no_args_is_help=True, help="A judge on another host.", **plain)
    judge.callback()(_judge)
    judge.command("serve")(judging.serve)
    judge.command("key")(judging.key)
    root.add_typer(judge, name="judge")
    cooking = typer.Typer(no_args_is_help=True, help="Published ways of self-improvement, with controls.", **plain)
    cooking.callback()(_recipes)
    cooking.command("list")(recipes.recipes_list)
    cooking.command("show")(recipes.recipes_show)
    cooking.command("run")(recipes.recipes_run)
    root.add_typer(cooking, name="recipes")
    return root


def _version(asked: bool) -> None:
    if asked:
        from evolvent import __version__

        print(f"evolvent {__version__}")
        raise typer.Exit


def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Close the loop around a model, and prove each turn of it."""


def _memory() -> None:
    """What was learned about changes."""


def _judge() -> None:
    """A judge on another host."""


def _recipes() -> None:
    """Published ways of self-improvement, each beside its control."""


app = _app()


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: run a command and exit with its code.

    Args:
        arguments: the command line; the process's own by default.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json, debug = "--json" in given, "--debug" in given
    try:
        with children_end_with_us():
            code = app(given, prog_name="evolvent", standalone_mode=False)
        if code == _INTERRUPTED:  # what newer versions of Typer make of Ctrl-C
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)
    except (KeyboardInterrupt, Stop, typer.Abort):
        first = next((word for word in given if not word.startswith("-")), "")
        again = {"demo": "demo", "recipes": "recipes run"}.get(first, "run")
        _fail(f"stopped; resume with `evolvent {again}`", "Stopped", _INTERRUPTED, as_json, prefix="")
    except BrokenPipeError:
        sys.stderr.close()  # the reader left, as `head` does; Python would complain at its end
        sys.exit(0)
    except _Misuse as exc:
        where = exc.ctx.command_path if exc.ctx else "evolvent"
        _fail(f"{exc.format_message()} (see `{where} --help`)", "UsageError", exc.exit_code, as_json)
    except Told as exc:
        print(f"error: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)
    except EvolventError as exc:
        _trace(debug)
        _fail(str(exc), type(exc).__name__, exc.exit_code, as_json)
    except Exception as exc:
        _trace(debug)
        _fail(
            f"{type(exc).__name__}: {exc}; this is a bug: please report it with `evolvent --debug ...`",
            "Bug",
            1,
            as_json,
        )


def _trace(debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exc()


def _fail(message: str, kind: str, code: int, as_json: bool, prefix: str = "error: ") -> None:
    if as_json:
        emit({"error": message, "kind": kind, "exit_code": code})
    print(f"{prefix}{message}", file=sys.stderr)
    sys.exit(code)
