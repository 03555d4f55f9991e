"""Sealed: inputs, steps, state and results are encrypted in the handler's process, before any engine sees them.

    app = restate.app([claims], journal_value_codec=sealing())

Built on the SDK's seam for journal values, so it holds on Rewake and on a Restate cluster alike; with the SDK's client,
`create_client(..., journal_value_codec=sealing())`. Needs the `encryption` extra.

keys.py      where keys come from, and their rotation     form.py    the bytes of a sealed value
subjects.py  one key for each session, to forget it       values.py  seals and opens
codec.py     the SDK's seam
"""

from rewake.ext.sealed.codec import Undecodable, sealing
from rewake.ext.sealed.form import CannotOpen, Damaged, Forgotten, KeyUnknown, is_sealed
from rewake.ext.sealed.keys import Keyring, KeysInvalid, new_key
from rewake.ext.sealed.subjects import SubjectKeys, subject_of_key
from rewake.ext.sealed.values import Sealer, Values

__all__ = [
    "CannotOpen",
    "Damaged",
    "Forgotten",
    "KeyUnknown",
    "Keyring",
    "KeysInvalid",
    "Sealer",
    "SubjectKeys",
    "Undecodable",
    "Values",
    "is_sealed",
    "new_key",
    "sealing",
    "subject_of_key",
]
