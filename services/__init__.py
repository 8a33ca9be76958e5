"""The rooms of the exchange. A room imports `schemas` and `services.runtime`, never another room.

docs/architecture.md shows the way through them. Each room's own page (its `__init__`) says what happens there, in which file to
begin, who calls it and what it may import. Inside a room the part that decides is pure and says so in its first lines; `shell`,
`__main__` and whatever holds sockets talk to the world.
"""
