"""The command `sluice`: its sub-commands, how errors reach a person, and the exit statuses of SPEC §9.

A command's module is imported when the command is called, so `sluice --help` and the panel start fast. It refuses to show a
traceback: a `SluiceError` is printed line by line, anything else is called what it is, a bug.
"""

import importlib
import os
import sys

import click

from engine import __version__
from engine.protocol.errors import SluiceError
from engine.protocol.runs import workspace

COMMANDS = {
    "demo": "demo:demo",
    "init": "setup:init",
    "doctor": "setup:doctor",
    "gates": "gates:gates",
    "plan": "plan:plan",
    "run": "launch:run",
    "resume": "launch:resume",
    "rerun": "rerun:rerun",
    "stop": "control:stop",
    "checkpoint": "control:checkpoint",
    "watch": "control:watch",
    "logs": "control:logs",
    "runs": "control:runs",
    "open": "control:open_run",
    "compare": "compare:compare",
    "rename": "housekeeping:rename",
    "note": "housekeeping:note",
    "export": "housekeeping:export",
    "rm": "housekeeping:rm",
    "models": "models:models",
    "report": "report:report",
    "stats": "report:stats",
    "score": "report:score",
    "review": "review:review",
    "signoff": "report:signoff",
    "schema": "report:schema",
}


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order a person meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, or None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"app.commands.{module}"), name)
        return command


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sluice")
@click.option("--ascii", "ascii_only", is_flag=True, help="Draw the panel with ASCII characters only.")
@click.pass_context
def sluice(ctx: click.Context, ascii_only: bool) -> None:
    """Gated QLoRA fine-tuning with an honest verdict: GO, NO-GO or INCONCLUSIVE.

    Without a command, in a terminal, it opens the panel.
    """
    ctx.obj = {"ascii": ascii_only}
    if ctx.invoked_subcommand is None:
        if sys.stdout.isatty() and sys.stdin.isatty():
            from app.opening import open_panel

            open_panel(workspace(), ascii_only=ascii_only)
        else:
            from app.commands.control import print_runs

            print_runs(workspace())


def _complain(text: str) -> None:
    """A line on standard error; it may quote files, so it is made visible like all foreign text."""
    from app.commands.output import say

    say(text, err=True)


def main(arguments: list[str] | None = None) -> None:
    """Entry point: runs a command and ends the process with its exit status."""
    # datasets, answers and settings may be private: nothing we make is readable by others
    os.umask(0o077)
    try:
        status = sluice.main(args=arguments, prog_name="sluice", standalone_mode=False)
    except SluiceError as error:
        for problem in error.problems:
            _complain(f"sluice: {problem}")
        status = error.exit_status
    except click.ClickException as error:
        error.show()
        status = 2
    except (click.Abort, KeyboardInterrupt):
        _complain("sluice: interrupted")
        status = 130
    except BrokenPipeError:
        # the reader of our output is gone (| head): nothing more to say, and Python must not complain at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _complain(f"sluice: {place}{error.strerror or error}; mend that and try again")
        status = 2
    except Exception as error:
        if os.environ.get("SLUICE_DEBUG"):
            raise
        _complain(f"sluice: this is a bug in sluice: {type(error).__name__}: {error}; SLUICE_DEBUG=1 shows where")
        status = 4
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
