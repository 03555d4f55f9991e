"""Effects whose other side is a folder, LAB_FOLDER: files that count bookings, questions and what was undone."""

from __future__ import annotations

import os
import signal
from datetime import timedelta

import restate
from adapter_kit import PATIENT, folder, mark, marks

from rewake.ext.kernel import Done, effect, undoable, undoable_call

desk = restate.Service("Desk", invocation_retry_policy=PATIENT)
trips = restate.Service("Trips", invocation_retry_policy=PATIENT)
flights = restate.Service("Flights", invocation_retry_policy=PATIENT)


@desk.handler()
async def pay(ctx: restate.Context, order: str) -> str:
    """Book, and die of it once where the order is called so."""

    async def book(key: str) -> str:
        mark(f"booked {order}", key)
        if order.startswith("deadly"):
            (folder() / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return order

    async def find(key: str) -> Done[str] | None:
        mark(f"asked {order}")
        return Done(order) if marks()[f"booked {order}"] else None

    return await effect(ctx, "pay", book, verify=find, settle=timedelta(0))


async def take_back(key: str, seat: str) -> None:
    """Undo a booking."""
    mark(f"undone {seat}")


@flights.handler()
async def reserve(ctx: restate.Context, seat: str) -> str:
    """Book a seat, which can be undone."""

    async def book(key: str) -> str:
        mark(f"booked {seat}", key)
        return seat

    return await effect(ctx, "book", book, on_unknown="retry", on_undo=take_back)


@trips.handler()
async def plan(ctx: restate.Context, seat: str) -> None:
    """Book two seats at another service, and fail."""
    for number in range(2):
        await undoable_call(ctx, reserve, f"{seat} {number}")
    raise restate.TerminalError("it rains")


app = restate.app([desk, trips, undoable(flights, take_back)])
