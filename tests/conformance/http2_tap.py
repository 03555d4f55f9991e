"""What a ChaosProxy has seen, as HTTP/2 frames and the protocol's messages in them, in the order they passed."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from chaos_proxy import ChaosProxy, Sender
from hpack import Decoder
from hyperframe.frame import DataFrame, Frame, HeadersFrame

from rewake.protocol.framing import FrameDecoder
from rewake.protocol.messages import MessageType

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_BYTES = 9
LAST = frozenset({MessageType.END, MessageType.SUSPENSION, MessageType.ERROR})


class Data(NamedTuple):
    """A DATA frame. messages: types of those it completes."""

    sender: Sender
    body: bytes
    is_end: bool
    messages: tuple[int, ...]


def invocations(proxy: ChaosProxy) -> list[tuple[str, list[Data]]]:
    """The DATA frames of each attempt, with its path, in the order the attempts began."""
    found: dict[tuple[object, int], list[Data]] = defaultdict(list)
    paths: dict[tuple[object, int], str] = {}
    pending: dict[tuple[object, Sender], bytes] = defaultdict(bytes)
    headers: dict[object, Decoder] = defaultdict(Decoder)
    decoders: dict[tuple[object, int, Sender], FrameDecoder] = defaultdict(FrameDecoder)
    for connection, sender, chunk in proxy.traffic:
        pending[connection, sender] = (pending[connection, sender] + chunk).removeprefix(PREFACE)
        frames, pending[connection, sender] = _frames(pending[connection, sender])
        for frame in frames:
            stream = (connection, frame.stream_id)
            if isinstance(frame, HeadersFrame) and sender == "engine":
                paths[stream] = dict(headers[connection].decode(frame.data, raw=True))[b":path"].decode()
            elif isinstance(frame, DataFrame):
                messages = decoders[*stream, sender].feed(frame.data) if "/invoke/" in paths[stream] else []
                types = tuple(message.type_id for message in messages)
                found[stream].append(Data(sender, frame.data, "END_STREAM" in frame.flags, types))
    return [(path, found[stream]) for stream, path in paths.items() if "/invoke/" in path]


def _frames(data: bytes) -> tuple[list[Frame], bytes]:
    """The whole frames at the beginning, and the rest."""
    frames = []
    while len(data) >= HEADER_BYTES:
        frame, size = Frame.parse_frame_header(memoryview(data[:HEADER_BYTES]))
        if len(data) < HEADER_BYTES + size:
            break
        frame.parse_body(memoryview(data[HEADER_BYTES : HEADER_BYTES + size]))
        frames.append(frame)
        data = data[HEADER_BYTES + size :]
    return frames, data
