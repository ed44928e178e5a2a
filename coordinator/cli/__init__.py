"""The command line: one module for each command; ``--help`` teaches.

Each has a ``COMMAND``: what its help says, which arguments it declares, and what it runs.
"""

import argparse
import textwrap
from collections.abc import Sequence

from coordinator import __version__
from coordinator.cli import (
    audit_export,
    check_duplicates,
    import_file,
    load_test,
    serve,
    set_state,
    status,
    validate,
)
from coordinator.cli.command import INTERRUPTED, Command, say

COMMANDS: tuple[Command, ...] = (
    serve.COMMAND,
    status.COMMAND,
    validate.COMMAND,
    audit_export.COMMAND,
    set_state.COMMAND,
    import_file.COMMAND,
    check_duplicates.COMMAND,
    load_test.COMMAND,
)

_EPILOG = """\
Every setting of `serve` can also stand in the environment as COORDINATOR_<NAME>, for example
COORDINATOR_ETCD_ENDPOINTS; a flag wins. Exit codes: 0 done, 1 something is wrong, 2 not usable
as given. `coordinator COMMAND --help` shows more of each.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    given = vars(_parser().parse_args(arguments))
    run = given.pop("run")
    try:
        return int(run(given))
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    firsts = "\n".join(f"  {command.examples[0]}" for command in COMMANDS)
    parser = argparse.ArgumentParser(
        "coordinator",
        description="Gapless sequential numbers, highly available on etcd, proven by a ledger.",
        epilog=f"examples:\n{firsts}\n\n{_EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        lines = "\n".join(f"  {example}" for example in command.examples)
        one = commands.add_parser(
            command.name,
            help=command.help,
            description=textwrap.fill(command.description or f"{command.help}.", 90),
            epilog=f"examples:\n{lines}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.arguments(one)
        one.set_defaults(run=command.run)
    return parser
