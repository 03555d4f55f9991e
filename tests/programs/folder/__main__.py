"""A folder that is run as a whole, with agents in a package beside it."""

import restate
from agents_of_desk import router

app = restate.app([router.desk])
