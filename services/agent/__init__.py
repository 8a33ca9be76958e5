"""The program on a provider's machine: it enrols the machine, lets tenants in by SSH, warns them, wipes, and sends heartbeats.

    hourbook agent --machine NAME --class CLASS --key FILE

plan, clock      pure: what is to be done, from what the exchange has told and what is on the machine, by the exchange's time
shell            the two loops: whatever the plan says, and heartbeats
exchange         signed requests to the public gateway, and what its answers mean; errors: what ends the agent
inventory        what the machine has
store            what must survive a kill, on disk
drivers/         how a tenant is kept: in a folder, as a user, in a container, not at all
door, sessions   one process a lease: an SSH server that outlives the agent, and ends by itself when the lease does
doorway          what agent and door say to each other
keys, processes  what a door needs: who may come in, and how all that a tenant has started is found and killed

What a provider must know is in docs/agent.md; what agent and exchange say to each other, in schemas/agents.py.
"""
