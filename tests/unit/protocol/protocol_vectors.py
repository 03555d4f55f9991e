"""Captured payloads and the messages they stand for, shared by the codec and framing tests."""

from __future__ import annotations

from rewake.protocol.messages import (
    VOID,
    AwaitingOn,
    CallCommand,
    Combinator,
    Completion,
    End,
    Future,
    InputCommand,
    InvocationIdResult,
    Message,
    MessageType,
    OutputCommand,
    ProposeRunCompletion,
    ProposeRunCompletionAck,
    RunCommand,
    Signal,
    SleepCommand,
    Start,
    Success,
    Suspension,
)

START_ID = bytes.fromhex("9dcabcb387f46c4698e9049ae0a2be2cd7dfd5202fb79353")
DEBUG_ID = "inv_162Sb4MX4hhH2xHRTKfMajBZEUHoqj2mso"
CALLEE_ID = "inv_1iNPviXvolSK4y3LhbKcyPIJYq5bivAtUJ"

_START_HEAD = (
    "0a 18 9d ca bc b3 87 f4 6c 46 98 e9 04 9a e0 a2 be 2c d7 df d5 20 2f b7 93 53"
    "12 26 69 6e 76 5f 31 36 32 53 62 34 4d 58 34 68 68 48 32 78 48 52 54 4b 66 4d"
    "61 6a 42 5a 45 55 48 6f 71 6a 32 6d 73 6f"
)
_SEED = "48 ef 95 a7 a5 f1 e3 80 c8 5d"


def _start(known_entries: int, retry_count: int, duration: int) -> Start:
    return Start(START_ID, DEBUG_ID, known_entries, (), True, "", retry_count, duration, 6741892074199173871)


def _first_completed(completion_id: int) -> Future:
    return Future((completion_id,), (1,), combinator=Combinator.FIRST_COMPLETED)


VECTORS: list[tuple[str, int, int, str, Message]] = [
    (
        "start",
        7,
        0x0000,
        "00 00 00 00 00 00 00 52" + _START_HEAD + "18 01 28 01 40 02" + _SEED,
        _start(1, 0, 2),
    ),
    (
        "start after a crash",
        7,
        0x0000,
        "00 00 00 00 00 00 00 55" + _START_HEAD + "18 05 28 01 38 02 40 98 13" + _SEED,
        _start(5, 2, 2456),
    ),
    (
        "input with headers",
        7,
        0x0400,
        "04 00 00 00 00 00 00 66"
        "0a 24 0a 16 78 2d 72 65 73 74 61 74 65 2d 69 6e 67 72 65 73 73 2d 70 61 74 68"
        "12 0a 2f 44 65 6d 6f 2f 77 6f 72 6b"
        "0a 20 0a 0c 63 6f 6e 74 65 6e 74 2d 74 79 70 65 12 10 61 70 70 6c 69 63 61 74 69 6f 6e 2f 6a 73 6f 6e"
        "0a 13 0a 0e 63 6f 6e 74 65 6e 74 2d 6c 65 6e 67 74 68 12 01 35"
        "72 07 0a 05 22 62 6f 62 22",
        InputCommand(
            (
                ("x-restate-ingress-path", "/Demo/work"),
                ("content-type", "application/json"),
                ("content-length", "5"),
            ),
            b'"bob"',
        ),
    ),
    ("input of a callee", 7, 0x0400, "04 00 00 00 00 00 00 09 72 07 0a 05 22 62 6f 62 22", InputCommand((), b'"bob"')),
    ("input without a body", 6, 0x0400, "04 00 00 00 00 00 00 02 72 00", InputCommand((), b"")),
    ("run", 7, 0x0411, "04 11 00 00 00 00 00 08 58 01 62 04 70 69 63 6b", RunCommand(1, "pick")),
    (
        "proposal",
        6,
        0x0005,
        "00 05 00 00 00 00 00 06 08 01 72 02 34 32",
        ProposeRunCompletion(1, Success(b"42")),
    ),
    ("proposal ack", 7, 0x0007, "00 07 00 00 00 00 00 02 08 01", ProposeRunCompletionAck(1)),
    (
        "awaiting on a run",
        7,
        0x0006,
        "00 06 00 00 00 00 00 0a 0a 08 0a 01 01 12 01 01 28 01",
        AwaitingOn(_first_completed(1)),
    ),
    (
        "awaiting on a call",
        7,
        0x0006,
        "00 06 00 00 00 00 00 0a 0a 08 0a 01 03 12 01 01 28 01",
        AwaitingOn(_first_completed(3)),
    ),
    (
        "call",
        7,
        0x040D,
        "04 0d 00 00 00 00 00 18 0a 04 44 65 6d 6f 12 05 67 72 65 65 74 1a 05 22 62 6f 62 22 50 02 58 03",
        CallCommand("Demo", "greet", b'"bob"', (), "", None, None, None, 2, 3),
    ),
    (
        "call invocation id",
        7,
        0x800E,
        "80 0e 00 00 00 00 00 2b 08 02 82 01 26 69 6e 76 5f 31 69 4e 50 76 69 58 76 6f 6c 53 4b 34 79 33 4c 68 62 4b"
        "63 79 50 49 4a 59 71 35 62 69 76 41 74 55 4a",
        Completion(MessageType.CALL_INVOCATION_ID_COMPLETION, 2, InvocationIdResult(CALLEE_ID)),
    ),
    (
        "run completion",
        7,
        0x8011,
        "80 11 00 00 00 00 00 08 08 01 2a 04 0a 02 34 32",
        Completion(MessageType.RUN_COMPLETION, 1, Success(b"42")),
    ),
    (
        "call completion",
        7,
        0x800D,
        "80 0d 00 00 00 00 00 0e 08 03 2a 0a 0a 08 22 68 69 20 62 6f 62 22",
        Completion(MessageType.CALL_COMPLETION, 3, Success(b'"hi bob"')),
    ),
    (
        "empty completion",
        6,
        0x800D,
        "80 0d 00 00 00 00 00 04 08 03 2a 00",
        Completion(MessageType.CALL_COMPLETION, 3, Success(b"")),
    ),
    (
        "output",
        7,
        0x0401,
        "04 01 00 00 00 00 00 0f 72 0d 0a 0b 22 68 69 20 62 6f 62 20 34 32 22",
        OutputCommand(Success(b'"hi bob 42"')),
    ),
    ("empty output", 6, 0x0401, "04 01 00 00 00 00 00 02 72 00", OutputCommand(Success(b""))),
    ("end", 7, 0x0003, "00 03 00 00 00 00 00 00", End()),
    ("sleep", 6, 0x040C, "04 0c 00 00 00 00 00 09 08 87 af ca 9b a0 34 58 01", SleepCommand(1795354171271, 1)),
    (
        "sleep completion",
        6,
        0x800C,
        "80 0c 00 00 00 00 00 04 08 01 22 00",
        Completion(MessageType.SLEEP_COMPLETION, 1, VOID),
    ),
    ("cancel", 6, 0xFBFF, "fb ff 00 00 00 00 00 04 10 01 22 00", Signal(1, VOID)),
    ("flat suspension", 5, 0x0001, "00 01 00 00 00 00 00 06 0a 01 01 12 01 01", Suspension(Future((1,), (1,)))),
    ("flat suspension", 6, 0x0001, "00 01 00 00 00 00 00 06 0a 01 01 12 01 01", Suspension(Future((1,), (1,)))),
    (
        "suspension",
        7,
        0x0001,
        "00 01 00 00 00 00 00 0a 22 08 0a 01 02 12 01 01 28 01",
        Suspension(_first_completed(2)),
    ),
]
"""Name, protocol version, type, whole frame in hex, message."""
