"""What the scripted provider answers in the agent work: a router hands over, a specialist calls its tool and answers.

Used by `python -m rewake.testing.models --rules bench/agent_rules.py`, in a process of its own.
"""

from rewake.testing.models import rule, text, tool_call

rules = [
    rule(system="You route", answer=tool_call("transfer_to_specialist")),
    rule(system="You are the specialist", after_tool="look_up_cover", answer=text("It is covered.")),
    rule(system="You are the specialist", answer=tool_call("look_up_cover", {"customer": "ada"})),
]
