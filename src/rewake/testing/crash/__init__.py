"""The crash lab: one call of an app, killed with SIGKILL at every boundary of its journals, each time from the start.

lab.py     plays the lives, and judges        report.py   what came of it, as text, JSON and a page
life.py    one engine with one real worker    tap.py      where it stands, and the kill at one boundary

A boundary is an entry on its way into a journal (`before` it is stored: whatever led to it is done, and lost) or just
in it (`after`: stored, and nobody has heard). So a step is cut before and after its body, and so is each call, wait
and answer.
"""
