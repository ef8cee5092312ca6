"""Long polling as one would write it with Tornado: `python -m bench.peers.tornado_server`, prints where it listens."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import tornado.httpserver
import tornado.netutil
import tornado.web

from bench.peers.marker import channel_of

BACKLOG = 4096  # connections that the kernel may hold for us, as in the other servers

waiting: dict[str, set[asyncio.Future[bytes]]] = defaultdict(set)


class Wait(tornado.web.RequestHandler):
    def initialize(self) -> None:
        self.future: asyncio.Future[bytes] = asyncio.Future()

    async def get(self) -> None:
        self.channel = channel_of(self.request.uri or "")
        waiting[self.channel].add(self.future)
        self.write(await self.future)

    def on_connection_close(self) -> None:
        waiting[self.channel].discard(self.future)
        self.future.cancel()


class Send(tornado.web.RequestHandler):
    def post(self) -> None:
        channel = channel_of(self.request.headers["X-Realplexor"])
        for future in waiting.pop(channel, ()):
            future.set_result(self.request.body)
        self.write("stored\n")


def listen(line: str, handler: type[tornado.web.RequestHandler]) -> None:
    application = tornado.web.Application([("/", handler)], log_function=lambda handler: None)
    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1", backlog=BACKLOG)
    tornado.httpserver.HTTPServer(application).add_sockets(sockets)
    print(f"{line}: listening 127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)


async def main() -> None:
    listen("WAIT", Wait)
    listen("IN", Send)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
