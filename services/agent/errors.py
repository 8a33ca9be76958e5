"""How the agent ends, and what keeps it from going on: a sentence each, and an exit code as the command line has them.

AgentEnd
├── Unusable    2   the command's words, the profile or this machine are not fit for it: change them
└── Refused     3   the exchange does not take this machine, or not this agent; nothing of a tenant's was touched

What is answered and goes on is no ending: `exchange.Away` (try later), `exchange.EnrolAgain`, `drivers.Failed` (of one lease).
"""

from __future__ import annotations


class AgentEnd(Exception):
    """Ends the agent."""

    exit_code: int = 1


class Unusable(AgentEnd):
    """Change the words, or the machine."""

    exit_code = 2


class Refused(AgentEnd):
    """The exchange said no."""

    exit_code = 3
