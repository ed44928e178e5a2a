"""``coordinator serve``: run one node."""

import argparse
import asyncio
import logging
from typing import Any

from pydantic import ValidationError

from coordinator.app import CannotJoin, serve
from coordinator.cli.command import OK, UNUSABLE, Command, say, say_invalid
from coordinator.config import Settings


def _arguments(parser: argparse.ArgumentParser) -> None:
    for name, field in Settings.model_fields.items():
        default = field.default
        flag: dict[str, Any] = {"nargs": "?", "const": "true"} if field.annotation is bool else {}
        if isinstance(default, tuple):
            default = ",".join(default)
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            default=argparse.SUPPRESS,
            metavar=name.rsplit("_", 1)[-1].upper(),
            help=f"{field.description} (default: {default})",
            **flag,
        )


def _run(given: dict[str, Any]) -> int:
    try:
        settings = Settings(**given)
    except ValidationError as invalid:
        say_invalid(invalid)
        return UNUSABLE
    logging.basicConfig(
        level=settings.log_level.upper(),
        format=f"%(asctime)s %(levelname)-7s {settings.node_id} %(message)s",
    )
    try:
        asyncio.run(serve(settings))
    except CannotJoin as refused:
        say(str(refused))
        return UNUSABLE
    return OK


COMMAND = Command(
    name="serve",
    help="run one node",
    arguments=_arguments,
    run=_run,
    examples=(
        "coordinator serve --node-id node-1 --port 8080 --etcd-endpoints http://10.0.0.1:2379",
        "coordinator serve --strategy SITE_SEQUENTIAL --sites berlin,paris",
        "COORDINATOR_PROFILE=demonstration coordinator serve",
    ),
)
