"""`python -m cluster`: up, status, kill, stop, etcd."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cluster import members, processes, state, web
from cluster.errors import StartError
from cluster.etcd_binary import find_etcd, tools_folder
from cluster.ports import NODE_PORT, PORTS_IN_BLOCK
from cluster.supervisor import STOP_S_MAX, TICK_S
from cluster.up import Options, say, up

__all__ = ["main"]

_ROOT = Path(__file__).resolve().parent.parent
_PORT_MAX = 65_535 - PORTS_IN_BLOCK + 1

_EXAMPLES = """\
examples:
  ./START-POC.sh                                  four nodes, three etcd members, a browser
  ./START-POC.sh --port 9000 --no-browser         nodes on 9000 to 9003
  ./START-POC.sh --etcd-members 1                 one etcd member: quicker, survives no loss
  ./START-POC.sh --etcd-endpoints http://10.0.0.5:2379,http://10.0.0.6:2379
                                                  nodes on an etcd that runs already

The last line printed is `READY <address>`. Ctrl+C (or SIGTERM) stops every process that was
started and leaves the data; the next start goes on where this one ended. A process that dies is
started again. Logs of all of them are in DIR/logs, and DIR/cluster.json says what runs where.

exit code: 0 stopped when asked, or running already; 1 could not start; 2 wrong words
"""


def main(words: Sequence[str] | None = None) -> int:
    """Do what the words say and return the exit code."""
    arguments = _parser().parse_args(words)
    arguments.data = arguments.data.expanduser().resolve()
    try:
        code: int = arguments.run(arguments)
    except StartError as problem:
        say(f"ERROR: {problem}")
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--data-dir",
        dest="data",
        type=Path,
        default=_ROOT / "data",
        metavar="DIR",
        help="where everything is kept (default: data/ beside the code)",
    )
    parser = argparse.ArgumentParser(
        prog="python -m cluster", description="Gapless numbers: a whole cluster on this machine."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_up(
        commands.add_parser(
            "up",
            parents=[common],
            help="start etcd and four nodes, watch them, stop them on Ctrl+C",
            description="Start etcd and four coordinator nodes (2 sites x 2 partitions), and watch "
            "them until Ctrl+C.",
            epilog=_EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    status = commands.add_parser("status", parents=[common], help="show what runs")
    status.set_defaults(run=_status)
    kill = commands.add_parser(
        "kill", parents=[common], help="kill -9 one process by name; the launcher restarts it"
    )
    kill.add_argument("name", metavar="NAME", help="node-1 ... node-4, member-1 ...")
    kill.set_defaults(run=_kill)
    stop = commands.add_parser("stop", parents=[common], help="stop everything, leave the data")
    stop.set_defaults(run=_stop)
    etcd = commands.add_parser(
        "etcd", parents=[common], help="print the path of the etcd to use; fetch it when needed"
    )
    etcd.set_defaults(run=_etcd)
    return parser


def _add_up(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port",
        type=_port,
        metavar="P",
        help=f"the nodes listen on P to P+3 (default: {NODE_PORT}, or the next free block; "
        f"0: any free block)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address the nodes listen on (default: %(default)s; 0.0.0.0: reachable from others)",
    )
    parser.add_argument("--no-browser", action="store_true", help="open no browser")
    etcd = parser.add_mutually_exclusive_group()
    etcd.add_argument(
        "--etcd-members",
        type=int,
        choices=(1, 3, 5),
        help="how many etcd members to start (default: what the data has, else "
        f"{members.MEMBERS_DEFAULT})",
    )
    etcd.add_argument(
        "--etcd-endpoints",
        type=_endpoints,
        default=[],
        metavar="URL,...",
        help="use an etcd that runs already; none is started",
    )
    parser.set_defaults(run=_up)


def _up(arguments: argparse.Namespace) -> int:
    return up(
        Options(
            data=arguments.data,
            host=arguments.host,
            port=arguments.port,
            browser=not arguments.no_browser,
            member_count=arguments.etcd_members,
            endpoints=arguments.etcd_endpoints,
        )
    )


def _status(arguments: argparse.Namespace) -> int:
    record = _running(arguments.data)
    etcd = record["etcd"]
    say(f"launcher  pid {record['launcher']['pid']}  {'ready' if record['ready'] else 'starting'}")
    for url, version in etcd.get("versions", {}).items():
        say(f"etcd      {version or 'no answer'}  {url}")
    if etcd.get("warning"):
        say(f"WARNING: {etcd['warning']}")
    for each in record["processes"]:
        path = "/readyz" if each["kind"] == "node" else "/health"
        healthy = web.get(each["url"] + path, timeout_s=2.0)[0] == 200  # noqa: PLR2004 - HTTP's OK
        say(
            f"{each['name']:<9} pid {each['pid'] or '-':<8} {each['url']:<26} "
            f"{'ready' if healthy else 'NOT READY':<10} deaths {each['deaths']}"
        )
    return 0


def _kill(arguments: argparse.Namespace) -> int:
    found = {each["name"]: each for each in _running(arguments.data)["processes"]}
    each = found.get(arguments.name)
    if each is None:
        raise StartError(f"{arguments.name} is none of {', '.join(found)}.")
    if not each["pid"] or not processes.is_running(each["pid"], each["command"]):
        raise StartError(f"{arguments.name} does not run at the moment.")
    processes.kill(each["pid"])
    say(f"Killed {arguments.name} (pid {each['pid']}); the launcher starts it again.")
    return 0


def _stop(arguments: argparse.Namespace) -> int:
    record = _running(arguments.data)
    launcher = record["launcher"]["pid"]
    processes.end_one(launcher)
    if sys.platform == "win32":  # there a launcher that is ended takes nothing with it
        for each in record["processes"]:
            if each["pid"] and processes.is_running(each["pid"], each["command"]):
                processes.kill(each["pid"])
    deadline = time.monotonic() + STOP_S_MAX
    while processes.command_line(launcher):
        if time.monotonic() > deadline:
            raise StartError(f"The launcher (pid {launcher}) has not stopped yet.")
        time.sleep(TICK_S)
    say("Stopped. The data stays.")
    return 0


def _etcd(arguments: argparse.Namespace) -> int:
    found = find_etcd(tools_folder(arguments.data), lambda line: print(line, file=sys.stderr))
    print(f"etcd {found.version} ({found.why})", file=sys.stderr)
    print(found.path)
    return 0


def _running(data: Path) -> state.State:
    record = state.read(state.Layout(data))
    if record is not None:
        launcher = record["launcher"]
        if processes.is_running(launcher["pid"], launcher["command"]):
            return record
    raise StartError(f"No cluster runs on {data}.")


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= _PORT_MAX:
        raise argparse.ArgumentTypeError(f"{port} is not between 0 and {_PORT_MAX}")
    return port


def _endpoints(text: str) -> list[str]:
    try:
        return members.endpoints_of(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from problem
