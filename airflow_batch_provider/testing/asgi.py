"""What every fake server needs of ASGI."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Receive, Send


async def lifespan(receive: Receive, send: Send, tasks: set[asyncio.Task[Any]]) -> None:
    """Start at once; stop after the tasks were ended."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
            continue
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await send({"type": "lifespan.shutdown.complete"})
        return


async def read_body(receive: Receive) -> bytes:
    """A call's whole content."""
    content = b""
    more = True
    while more:
        message = await receive()
        content += message.get("body", b"")
        more = message.get("more_body", False)
    return content


async def cut(receive: Receive, send: Any) -> None:
    """Close the connection in the middle of things; ASGI knows no word for it, uvicorn's own transport does."""
    await asyncio.sleep(0.02)  # what was sent before is to arrive
    send.__self__.transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
