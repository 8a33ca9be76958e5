"""How tenants are let in: one driver an agent.

base.py        what a driver promises, and what all with a door share
folder.py      `open`: a folder of the agent's own user; isolates nothing
user.py        `user`: an own user of the system; needs root
container.py   `docker`, `podman`: an own container
pretend.py     `simulated`: nobody is let in, and it says so
"""
