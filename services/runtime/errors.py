"""How a service ends, sorted by what whoever starts it should do next.

ServiceEnd
├── BadSettings   exit 78  an environment variable is missing or wrong: an operator changes it
├── Halt          exit 65  a log, a table or a topic contradicts what must hold: an operator looks before anything goes on
└── Superseded    exit 75  another process has taken over: start again, as a follower
Anything else ends the process with its traceback and exit 1: start again, replay brings the state back.
"""

from __future__ import annotations

import os


class ServiceEnd(Exception):
    """An ending with a sentence for the operator instead of a traceback."""

    exit_code = 1


class BadSettings(ServiceEnd):
    """The environment does not say what the service needs."""

    exit_code = os.EX_CONFIG


class Halt(ServiceEnd):
    """Going on would make something wrong. Starting again gives the same answer."""

    exit_code = os.EX_DATAERR


class Superseded(ServiceEnd):
    """A newer writer exists; this one writes no more."""

    exit_code = os.EX_TEMPFAIL


def cause_of(error: BaseException) -> BaseException:
    """Of what ended a group of tasks, what says most about what to do: an ending with an exit code, else the first."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    ends = error.subgroup(ServiceEnd)
    return cause_of((ends or error).exceptions[0])
