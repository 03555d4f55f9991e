"""The crash lab: plays one call of an app again and again, with a kill at another boundary of its journals each time.

lab.py        chooses the plays               playing.py    one play, in processes of its own
judging.py    judges a play                   report.py     all results, as text, JSON and a page
life.py       one engine and one real worker  tap.py        sits between the two and kills at a boundary
probe.py      kills inside a worker's steps   suspects.py   likely causes in the app's code
boundary.py   a place to kill at              other_side.py a server that counts the app's calls

A boundary is one of these: `before` an entry is stored, so the work that led to it is lost; `after` it is stored, when
nobody has the result yet; `inside` the body of a step; or a call to a model or to the other side.
"""
