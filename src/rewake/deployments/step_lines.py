"""The lines of the app that make entries of journals: each command carries its line to the engine.

So a mismatch report has both lines: the one that made the entry, perhaps in another process and in other code, and the
one that runs now. Each new entry costs a look at the stack (about 1 us); a replay costs almost nothing. Our own hosts
of handlers call this module: worker_main.py and in_process.py. Source of the calls: restate/vm.py of restate-sdk.
"""

from __future__ import annotations

import functools
import linecache
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

from rewake.protocol.line_field import Note, field_of, with_lines
from rewake.protocol.messages import MessageType

PLACES_MAX: Final = 10_000
"""Lines whose text is cached, so that it is read from its file once, and code objects whose lines are."""

FRAMES_MAX: Final = 60
"""Frames that are searched for the app's own code."""

_WORD_CHARS_MAX: Final = 80
_MAKING: Final[dict[str, frozenset[int]]] = {
    name: frozenset(types)
    for name, types in {
        "sys_get_state": (MessageType.GET_LAZY_STATE, MessageType.GET_EAGER_STATE),
        "sys_get_state_keys": (MessageType.GET_LAZY_STATE_KEYS, MessageType.GET_EAGER_STATE_KEYS),
        "sys_set_state": (MessageType.SET_STATE,),
        "sys_clear_state": (MessageType.CLEAR_STATE,),
        "sys_clear_all_state": (MessageType.CLEAR_ALL_STATE,),
        "sys_sleep": (MessageType.SLEEP,),
        "sys_call": (MessageType.CALL,),
        "sys_send": (MessageType.ONE_WAY_CALL,),
        "sys_run": (MessageType.RUN,),
        "sys_resolve_awakeable": (MessageType.COMPLETE_AWAKEABLE,),
        "sys_reject_awakeable": (MessageType.COMPLETE_AWAKEABLE,),
        "sys_resolve_signal": (MessageType.SEND_SIGNAL,),
        "sys_reject_signal": (MessageType.SEND_SIGNAL,),
        "sys_cancel": (MessageType.SEND_SIGNAL,),
        "sys_get_promise": (MessageType.GET_PROMISE,),
        "sys_peek_promise": (MessageType.PEEK_PROMISE,),
        "sys_complete_promise_success": (MessageType.COMPLETE_PROMISE,),
        "sys_complete_promise_failure": (MessageType.COMPLETE_PROMISE,),
        "attach_invocation": (MessageType.ATTACH_INVOCATION,),
    }.items()
}
"""Methods of the SDK's state machine that make a command, in all versions of the SDK, and its possible types."""

_OUTPUT: Final[Note] = (frozenset({MessageType.OUTPUT}), b"")
_MARK: Final = "_rewake_lines"
_OURS: Final = str(Path(__file__).parents[1])
_EXAMPLES: Final = str(Path(__file__).parents[1] / "examples")
_LIBRARY: Final = re.compile(r"site-packages|dist-packages|/lib/python\d|<frozen")

_is_own: dict[str, bool] = {}

_known: dict[int, tuple[CodeType, dict[int, bytes] | None]] = {}
"""Code objects by id, because their hash is slow: each with its fields by instruction, because the line of a frame is
slow too; None for a library's code. The object itself is kept so that no other one gets its id."""


def keep_lines() -> None:
    """From now on, commands made in this process carry their lines. Safe to call twice, and without the SDK."""
    vm: Any = getattr(sys.modules.get("restate.vm"), "VMWrapper", None)
    if vm is None or hasattr(vm, _MARK):
        return
    setattr(vm, _MARK, None)
    for name, types in _MAKING.items():
        if hasattr(vm, name):
            setattr(vm, name, _noting(getattr(vm, name), types))
    for name in ("sys_write_output_success", "sys_write_output_failure"):
        setattr(vm, name, _noting(getattr(vm, name), None))
    vm.take_output = _taking(vm.take_output)


def is_of_app(filename: str) -> bool:
    """Whether a file belongs to the app or to one of our examples, not to the SDK or to Rewake."""
    folders = (_OURS, str(Path(str(sys.modules["restate"].__file__)).parent))
    return not filename.startswith(folders) or filename.startswith(_EXAMPLES)


def _noting(make: Callable[..., Any], types: frozenset[int] | None) -> Callable[..., Any]:
    """Note a line for each call. types: of the command; None for the handler's output, which has no line."""

    @functools.wraps(make)
    def made(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = make(self, *args, **kwargs)
        if not self.is_replaying():
            note = _OUTPUT if types is None else (types, _field_here(sys._getframe(1)))
            notes = self.__dict__.get(_MARK)
            if notes is None:
                setattr(self, _MARK, [note])
            else:
                notes.append(note)
        return result

    return made


def _taking(take: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    @functools.wraps(take)
    def take_output(self: Any) -> bytes:
        chunk = take(self)
        notes: list[Note] | None = self.__dict__.get(_MARK)
        if not notes or not chunk:
            return chunk
        setattr(self, _MARK, None)
        if len(notes) == 1 and notes[0] is _OUTPUT:
            return chunk
        return with_lines(bytes(chunk), notes)

    return take_output


def _field_here(frame: FrameType | None) -> bytes:
    """The field for the line that makes an entry: in the app's innermost frame, else where it started a framework."""
    for _ in range(FRAMES_MAX):
        if frame is None:
            break
        code = frame.f_code
        fields = (_known.get(id(code)) or _note(code))[1]
        if fields is not None:
            field = fields.get(frame.f_lasti)
            if field is None:
                field = fields[frame.f_lasti] = _field_at(code, frame.f_lineno)
            return field
        frame = frame.f_back
    return next((_field_at(code, line) for code, line in _started_at() if _is_apps_own(code)), b"")


def _is_apps_own(code: CodeType) -> bool:
    """Whether this is the app's own code: not ours, and not a library's."""
    file = code.co_filename
    found = _is_own.get(file)
    if found is None:
        found = _is_own[file] = is_of_app(file) and not _LIBRARY.search(file)
    return found


def _started_at() -> tuple[tuple[CodeType, int], ...]:
    lines: Any = sys.modules.get("rewake.ext.kernel.lines")
    return () if lines is None else lines.started_at.get()


def _note(code: CodeType) -> tuple[CodeType, dict[int, bytes] | None]:
    if len(_known) >= PLACES_MAX:
        _known.clear()
    noted = _known[id(code)] = (code, {} if _is_apps_own(code) else None)
    return noted


def _field_at(code: CodeType, line: int) -> bytes:
    return _field_of_line(code.co_filename, code.co_name, line)


@functools.lru_cache(maxsize=PLACES_MAX)
def _field_of_line(filename: str, function: str, line: int) -> bytes:
    file = "/".join(filename.replace("\\", "/").split("/")[-2:])
    words = (f"{file}:{line}", function, linecache.getline(filename, line).strip())
    return field_of("\n".join(_shortened(each) for each in words))


def _shortened(word: str) -> str:
    return word if len(word) <= _WORD_CHARS_MAX else word[: _WORD_CHARS_MAX - 1] + "…"
