"""Payments in each way: the bank takes the key; it can be asked; a person is asked; or nobody is."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import restate

from rewake.ext.kernel import ApprovalRequest, Approvals, Done, effect

SETTLE: Final = timedelta(milliseconds=50)
PATIENT: Final = restate.InvocationRetryPolicy(timedelta(milliseconds=10), 1.0, timedelta(milliseconds=10), 1_000_000)
logging.disable(logging.CRITICAL)  # each cut is a traceback
desk = restate.Service("Desk", invocation_retry_policy=PATIENT)


async def post(path: str, said: Any, key: str = "") -> Any:
    """Post to the bank. Raises ConnectionError when the connection is cut."""
    place = urlsplit(os.environ["BANK_URL"])
    body = json.dumps(said).encode()
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        head = f"POST {path} HTTP/1.1\r\nhost: bank\r\nidempotency-key: {key}\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answer = await reader.read()
    finally:
        writer.transport.abort()
    if not answer:
        raise ConnectionResetError("the bank hung up")
    return json.loads(answer.partition(b"\r\n\r\n")[2])


@desk.handler()
async def pay(ctx: restate.Context, given: dict[str, str]) -> Any:
    """Pay one order, by one policy."""
    order, policy = {"order": given["order"]}, given["policy"]

    async def book(key: str) -> dict[str, str]:
        receipt: dict[str, str] = await post("/keyed" if policy == "retry" else "/pay", order, key)
        return receipt

    async def find(key: str) -> Done[dict[str, str]] | None:
        return Done({"receipt": key}) if await post("/find", order) else None

    async def notify(request: ApprovalRequest) -> None:
        await post("/ask", {"id": request.id, **order})

    match policy:
        case "retry":
            return await effect(ctx, "pay", book, on_unknown="retry")
        case "verify":
            return await effect(ctx, "pay", book, verify=find, settle=SETTLE)
        case "ask":
            found = await effect(ctx, "pay", book, on_unknown="ask", approvals=Approvals(notify=notify))
            return found or {"receipt": "a person said so"}
    return await effect(ctx, "pay", book, on_unknown="fail")


app = restate.app([desk])
