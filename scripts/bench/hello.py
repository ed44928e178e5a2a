"""The ceiling: the least that an aiohttp server can do, in the process setup of a node.

Run as `python hello.py PORT`. No access log and no middleware: what a node is slower than this, it
spends on numbers.
"""

import asyncio
import signal
import sys

from aiohttp import web


async def hello(_request: web.Request) -> web.Response:
    """Answer the shortest text."""
    return web.Response(text="hello")


async def main(port: int) -> None:
    """Serve until SIGTERM."""
    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
