"""The program on a provider's machine: it enrols the machine, lets tenants in by SSH, warns them, wipes, and sends heartbeats.

    hourbook agent --machine NAME --class CLASS --key FILE

plan.py, clock.py     pure: what is to be done, from what the exchange has told and what is on the machine
shell.py              the loops: heartbeats, and whatever the plan says
exchange.py           signed requests to the public gateway
door.py               one process a lease: an SSH server that outlives the agent, and ends by itself when the lease does
drivers/              how a tenant is kept: in a folder, as a user, in a container, not at all
store.py              what must survive a kill, on disk

What a provider must know is in docs/agent.md; what agent and exchange say to each other, in schemas/agents.py.
"""
