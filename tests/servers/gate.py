"""A gate in front of a MongoDB wire server that lets one findAndModify through at a time.

SecantusDB 0.7.0b3 gives two clients the same document as "before" when both call findAndModify at once, though
both changes are made: FireWorks, which draws its ids so, then has two jobs of one id. mongod needs no gate.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading

HEADER = struct.Struct("<iiii")
OP_MSG = 2013
MORE_TO_COME = 2
FIRST_KEY = slice(26, 40)
"""Name of the command in a message: after header, flags, kind of section, length of the document, type."""


class Gate:
    """Listens at one port of this machine and passes everything on to another.

    Parameters
    ----------
    port
        Where clients connect.
    target
        Port of the server; it may come and go.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port, self.target = port, target
        self._loop = asyncio.new_event_loop()
        self._turn = asyncio.Lock()
        self._open: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Listen, in a thread of its own."""
        listening = threading.Event()
        threading.Thread(target=self._run, args=(listening,), daemon=True).start()
        if not listening.wait(10):
            raise RuntimeError(f"nothing could listen at port {self.port}")

    def close(self) -> None:
        """End every connection and stop listening."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._ended.wait(10)

    def _run(self, listening: threading.Event) -> None:
        self._ended = threading.Event()
        try:
            self._loop.run_until_complete(self._serve(listening))
        finally:
            self._loop.close()
            self._ended.set()

    async def _serve(self, listening: threading.Event) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        listening.set()
        await self._stop.wait()
        server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _connected(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                server, on = await asyncio.open_connection("127.0.0.1", self.target)
                try:
                    while True:
                        await self._exchange(await _read(client), server, on, back)
                finally:
                    on.close()
        finally:
            self._open.discard(task)
            back.close()

    async def _exchange(
        self,
        request: bytes,
        server: asyncio.StreamReader,
        on: asyncio.StreamWriter,
        back: asyncio.StreamWriter,
    ) -> None:
        """Pass one request on and all of its replies back."""
        alone = request[FIRST_KEY].lower() == b"findandmodify\0"
        async with self._turn if alone else contextlib.nullcontext():
            on.write(request)
            await on.drain()
            more = not _flag(request)
            while more:
                reply = await _read(server)
                back.write(reply)
                await back.drain()
                more = _flag(reply)


async def _read(stream: asyncio.StreamReader) -> bytes:
    """Return one whole message of the wire protocol."""
    header = await stream.readexactly(HEADER.size)
    return header + await stream.readexactly(HEADER.unpack(header)[0] - HEADER.size)


def _flag(message: bytes) -> bool:
    """Return whether the sender has more to send before it waits for an answer."""
    _, _, _, kind = HEADER.unpack_from(message)
    return kind == OP_MSG and bool(struct.unpack_from("<I", message, HEADER.size)[0] & MORE_TO_COME)
