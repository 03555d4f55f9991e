"""Keys from all of Unicode: every plane, combining characters, right-to-left text, and what means something in a URL.

Used by works.py, in the callers' process; the same keys for every peer.
"""

from __future__ import annotations

import random

UNICODE_KEY_COUNT = 10_000
PLANE_COUNT = 17
PLANE_CHARACTERS = 0x10000
CONTROLS_END = 0xA0
SURROGATES = range(0xD800, 0xE000)
KEY_CHARACTERS_MAX = 12

CHOSEN = (
    "\u00e9",  # e with acute, one character
    "e\u0301",  # the same to the eye, two characters: another key
    "\u1112\u1161\u11ab",  # Hangul as letters
    "\ud55c",  # and as a syllable
    "\u05e9\u05dc\u05d5\u05dd",  # Hebrew
    "\u0645\u0631\u062d\u0628\u0627 123",  # Arabic, with digits that run the other way
    "\u202eabc\u202c",  # direction forced
    "\U0001f469\u200d\U0001f469\u200d\U0001f467",  # a family, three joined
    "\U0001f1eb\U0001f1f7",  # a flag, two letters
    "a\u0300\u0301\u0302\u0303\u0304",  # a pile of accents
    "\u200b",  # nothing to see
    "\U0010fffd",  # near the last there is
    "a/b",
    "100%",
    "%41",
    "a?b=c&d",
    "a#b",
    "a+b c",
    "a;b:c@d",
    "\"quoted'",
    "back\\slash",
)
"""Where a key is most likely to become another one on its way."""


def unicode_keys(count: int = UNICODE_KEY_COUNT) -> list[str]:
    """Different keys, the same at every call."""
    drawn = random.Random(1)
    keys = dict.fromkeys(CHOSEN)
    while len(keys) < count:
        plane = len(keys) % PLANE_COUNT
        keys["".join(_character(drawn, plane) for _ in range(drawn.randint(1, KEY_CHARACTERS_MAX)))] = None
    return list(keys)[:count]


def _character(drawn: random.Random, plane: int) -> str:
    while True:
        code = plane * PLANE_CHARACTERS + drawn.randrange(PLANE_CHARACTERS)
        if code >= CONTROLS_END and code not in SURROGATES:
            return chr(code)
