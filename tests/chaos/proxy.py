"""A TCP proxy on loopback whose connections can be cut, frozen and slowed down."""

import asyncio
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

BLOCK_BYTES = 64 * 1024


class Proxy:
    """Forwards `port` to a port of this machine; its loop runs in a thread of its own.

    `tls`: what clients have to speak with it, if anything.
    """

    def __init__(
        self, name: str, *, port: int, target_port: int, tls: ssl.SSLContext | None = None
    ) -> None:
        self.name = name
        self.port = port
        self._target_port = target_port
        self._tls = tls
        self._delay_seconds = 0.0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy {name}")

    def __enter__(self) -> "Proxy":
        self._thread.start()
        serving = asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result(timeout=10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def cut(self) -> None:
        """Drop all connections there are; new ones are taken."""
        self._do(self._abort_all)

    def pause(self) -> None:
        """Become a black hole: connections stand and new ones are taken, but nothing moves."""
        self._do(self._is_open.clear)

    def resume(self) -> None:
        self._do(self._is_open.set)

    def delay(self, seconds: float) -> None:
        """Hold back every block for so long, in each direction."""
        self._delay_seconds = seconds

    def _do(self, action: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(action)

    def _abort_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _stop(self) -> None:
        self._server.close()
        self._abort_all()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ours = {writer}
        self._writers.add(writer)
        try:
            await self._is_open.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            ours.add(far_writer)
            self._writers.add(far_writer)
            pumps = [self._pump(reader, far_writer), self._pump(far_reader, writer)]
            tasks = [asyncio.ensure_future(pump) for pump in pumps]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._writers -= ours
            for each in ours:
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while block := await reader.read(BLOCK_BYTES):
                await asyncio.sleep(self._delay_seconds)
                await self._is_open.wait()
                writer.write(block)
                await writer.drain()
