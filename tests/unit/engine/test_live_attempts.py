"""Live attempts: what many messages at once cost the others."""

from __future__ import annotations

import asyncio

from tests.unit.core.play import Play

from rewake.core.commands import AttemptFailed, Command, SdkMessages
from rewake.deployments.base import AttemptFailure, ReceivedMessage
from rewake.engine.live_attempts import MESSAGES_PER_COMMAND_MAX, LiveAttempt, LiveAttempts
from rewake.protocol.messages import MessageType, SetStateCommand

SLICE = MESSAGES_PER_COMMAND_MAX


def message(number: int) -> ReceivedMessage:
    return SetStateCommand(b"%d" % number, b"", ""), MessageType.SET_STATE, b"", 0


def test_many_messages_at_once_are_handed_over_in_slices_and_in_order() -> None:
    """Others have a turn between two slices; more messages and the loss of the connection come behind all of them."""

    async def main() -> tuple[list[Command], list[int]]:
        play = Play()
        submitted: list[Command] = []
        turns: list[int] = []
        started = play.call("greeter/greet")
        play.commit()
        attempts = LiveAttempts(
            reader=play.store, clients={}, submit=submitted.append, now_ms=lambda: 1, concurrency_max=1
        )
        attempt = attempts.running[started] = LiveAttempt(attempts, play.started[started])
        attempt.on_messages([message(number) for number in range(2 * SLICE)])
        attempt.on_messages([message(2 * SLICE)])
        attempt.on_failure(AttemptFailure(code="RT0010", status=500, message="lost"))
        while not isinstance(submitted[-1], AttemptFailed):
            turns.append(len(submitted))
            await asyncio.sleep(0)
        return submitted, turns

    submitted, turns = asyncio.run(main())
    messages = [each for each in submitted if isinstance(each, SdkMessages)]
    assert [len(each.messages) for each in messages] == [SLICE, SLICE, 1]
    assert [each[0] for item in messages for each in item.messages] == [message(n)[0] for n in range(2 * SLICE + 1)]
    assert (turns, len(submitted)) == ([1, 2], 4)


def test_what_is_left_of_an_attempt_that_is_over_is_dropped() -> None:
    async def main() -> int:
        play = Play()
        submitted: list[Command] = []
        started = play.call("greeter/greet")
        play.commit()
        attempts = LiveAttempts(
            reader=play.store, clients={}, submit=submitted.append, now_ms=lambda: 1, concurrency_max=1
        )
        attempt = attempts.running[started] = LiveAttempt(attempts, play.started[started])
        attempt.on_messages([message(number) for number in range(3 * SLICE)])
        del attempts.running[started]
        for _ in range(5):
            await asyncio.sleep(0)
        return len(submitted)

    assert asyncio.run(main()) == 1


def test_beyond_its_limits_the_queue_is_full() -> None:
    async def main() -> None:
        play = Play()
        runs = [play.call("greeter/greet") for _ in range(4)]
        play.commit()
        attempts = LiveAttempts(
            reader=play.store, clients={}, submit=lambda _: None, now_ms=lambda: 1, concurrency_max=0, waiting_max=3,
            waiting_per_service_max=2,
        )  # fmt: skip
        starts = [play.started[run] for run in runs]
        service = starts[0].target.service
        found = []
        for start in starts[:3]:
            found.append((attempts.full_for(service), attempts.full_for("other")))
            attempts.start(start)
        found.append((attempts.full_for(service), attempts.full_for("other")))
        assert found == [
            (None, None),
            (None, None),
            ("waiting-per-service-max", None),
            ("waiting-max", "waiting-max"),
        ]

    asyncio.run(main())
