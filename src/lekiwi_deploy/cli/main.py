"""`lekiwi`: runs a verb and turns what it raises into words and an exit code (`errors.EXIT_CODE`; 130: interrupted)."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lekiwi_deploy.errors import EXIT_CODE, BadInput, LekiwiError

if TYPE_CHECKING:
    from lekiwi_deploy.cli.output import Output

INTERRUPTED = 130
BROKEN_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """The whole program; returns its exit code. Without `arguments` it is the program: it takes them from the command line
    and ends the process."""
    if arguments is not None:
        return _checked(list(arguments))
    # A person waits for every millisecond: imports make no garbage worth collecting, and taking the interpreter apart at
    # the end costs more than many a verb. All that was written is flushed by then.
    gc.set_threshold(100_000, 50, 100)
    code = _checked(sys.argv[1:])
    os._exit(code)


def _checked(given: list[str]) -> int:
    if given[:1] == ["git-credential"]:
        # git waits for this on every push: no more is imported than it needs
        from lekiwi_deploy.cli.git_token import answer

        return answer(given[1:])
    from lekiwi_deploy.cli.output import Output

    output = Output()
    output.json = "--json" in given  # so that a mistake on the command line is told as asked
    try:
        code = _run(given, output)
        output.close()
        return code
    except BrokenPipeError:
        # whoever read our output has enough of it; Python must not try again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def _run(given: list[str], output: Output) -> int:
    import click

    from lekiwi_deploy.cli.program import Program
    from lekiwi_deploy.cli.run import Run

    try:
        code = Program().main(given, prog_name="lekiwi", standalone_mode=False, obj=Run(output))
        return code if isinstance(code, int) else 0
    except LekiwiError as error:
        return _told(error, output)
    except click.ClickException as error:
        return _told(_usage(error), output)
    except (KeyboardInterrupt, click.Abort):
        output.say("Interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        from lekiwi_deploy.cli.crash import record

        return _told(record(error, verbose=output.verbose > 0, output=output), output)


def _told(error: LekiwiError, output: Output) -> int:
    output.error(error)
    return EXIT_CODE[error.code]


def _usage(error: object) -> LekiwiError:
    """A mistake on the command line, as one of our errors."""
    import click

    assert isinstance(error, click.ClickException)
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "lekiwi"
    return BadInput(error.format_message(), next=(f"{command} --help",))
