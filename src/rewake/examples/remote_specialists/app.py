"""Remote specialists: a router and its specialists, each a service of its own, here served from one process.

router.py picks a specialist with a model and calls it by name; medical.py is plain SDK, car.py an OpenAI Agents agent.
No module imports another: each has an `app` too and can run elsewhere (README.md). tracing.py keeps one trace over all.
"""

from __future__ import annotations

import restate
from car import car_specialist
from medical import medical_specialist
from router import claim_router

app = restate.app([claim_router, medical_specialist, car_specialist])
