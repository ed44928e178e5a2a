"""Ports: a block of four for the nodes, uncommon ones for etcd.

Between choosing a port and the moment its server listens, another launcher could choose it too,
and each would take the other's server for its own. So a launcher claims a port first, by holding
the UDP port of the same number: the kernel gives it to one, and takes it back when that one dies.
"""

import secrets
import socket
import sys

from cluster.errors import StartError

__all__ = [
    "NODE_PORT",
    "PORTS_IN_BLOCK",
    "Claims",
    "shown_host",
]

NODE_PORT = 8080
PORTS_IN_BLOCK = 4
_BLOCK_STEP = 10  # 8080, 8090, 8100, ...: easy to remember
_BLOCKS_TRIED_MAX = 100
# Below every system's range of ephemeral ports: no outgoing connection can sit on one of these
# when a stopped cluster comes back and asks for the ports its members know each other by.
_UNCOMMON_PORTS = range(20_000, 32_000)
_TRIES_MAX = 1_000
_FIRST_OPEN_PORT = 1024
_NOT_LOCAL = {99, 49, 10049}  # EADDRNOTAVAIL of Linux, macOS and Windows


def shown_host(host: str) -> str:
    """Return the host to put into an address that reaches a server bound to `host`."""
    reachable = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{reachable}]" if ":" in reachable else reachable


class Claims:
    """The ports this launcher has claimed on one host; `close` gives them back."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._held: dict[int, socket.socket] = {}

    def claim(self, *ports: int) -> list[int]:
        """Claim all of these ports or none; return those that are taken.

        Raises StartError when the host is no address of this machine.
        """
        claims = {port: _claim(self._host, port) for port in ports}
        taken = [port for port, claim in claims.items() if claim is None]
        for port, claim in claims.items():
            if claim is not None and taken:
                claim.close()
            elif claim is not None:
                self._held[port] = claim
        return taken

    def claim_any(self) -> int:
        """Claim and return a free uncommon port."""
        for _ in range(_TRIES_MAX):
            port = _any_uncommon_port()
            if port not in self._held and not self.claim(port):
                return port
        raise StartError(f"No free port on {self._host} among {_UNCOMMON_PORTS}.")

    def claim_block(self, wanted: int | None) -> list[int]:
        """Claim and return four neighbouring ports for the nodes.

        `wanted` None means the default port, or the next free block when it is taken; 0 means
        any free block; another number means exactly that, or StartError naming what is taken.
        """
        if wanted:
            block = _block(wanted)
            taken = self.claim(*block)
            if taken:
                raise StartError(
                    f"Port {', '.join(map(str, taken))} is in use. The four nodes need ports "
                    f"{block[0]} to {block[-1]}: choose another --port, or leave it out."
                )
            return block
        for attempt in range(_BLOCKS_TRIED_MAX):
            default = NODE_PORT + attempt * _BLOCK_STEP
            block = _block(default if wanted is None else _any_uncommon_port())
            if not self.claim(*block):
                return block
        raise StartError(f"No four neighbouring free ports on {self._host} from {NODE_PORT} on.")

    def close(self) -> None:
        """Give all claims back."""
        while self._held:
            self._held.popitem()[1].close()


def _block(first: int) -> list[int]:
    return list(range(first, first + PORTS_IN_BLOCK))


def _any_uncommon_port() -> int:
    return _UNCOMMON_PORTS.start + secrets.randbelow(len(_UNCOMMON_PORTS) - PORTS_IN_BLOCK)


def _claim(host: str, port: int) -> socket.socket | None:
    """Return the UDP socket that stands for a TCP port which a server could take now."""
    claim: socket.socket | None = None
    try:
        claim = _bound(host, port, socket.SOCK_DGRAM)
        _bound(host, port, socket.SOCK_STREAM).close()
    except OSError as problem:
        if claim is not None:
            claim.close()
        if problem.errno in _NOT_LOCAL or isinstance(problem, socket.gaierror):
            raise StartError(f"--host {host} is no address of this machine.") from problem
        if isinstance(problem, PermissionError) and port < _FIRST_OPEN_PORT:
            raise StartError(f"Port {port} is reserved for the system administrator.") from problem
        return None
    if _answers(host, port):
        claim.close()
        return None
    return claim


def _bound(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(
        host or None, port, type=kind, flags=socket.AI_PASSIVE
    )[0]
    server = socket.socket(family, kind)
    try:
        if kind == socket.SOCK_STREAM:
            # A port in TIME_WAIT is free for a server, except on Windows, where this option
            # would mean "share it with whoever has it".
            if sys.platform != "win32":
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(address)
            server.listen(1)
        else:
            server.bind(address)
    except BaseException:
        server.close()
        raise
    return server


def _answers(host: str, port: int) -> bool:
    # macOS lets one server bind an address while another has the same port on all addresses.
    if sys.platform != "darwin":
        return False
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as client:
        client.settimeout(0.2)
        return client.connect_ex((shown_host(host).strip("[]"), port)) == 0
