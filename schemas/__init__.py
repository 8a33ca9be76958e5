"""The only language between rooms: units, ids, and every message that crosses a topic or the HTTP edge.

A room (`services/X`) imports `schemas` and `services.runtime`, never another room.
"""
