"""Delivery: an hour that was traded becomes a machine that its holder can log in to, and what he got of it is counted in minutes.

market      classes, gates, hours that are over, and in `titles` whose hours they are, from `events`
state       machines, launch specifications and leases, from the room's own records (`schemas/leases.py`)
assignment  which seats of which machines the titles of a class get, all of an hour together; `fleet` has its words,
            `hosting` whose machines serve whom, `seating` which of their seats
placing     a title bought in mid-hour, on what is free
asks        whose asks stand in the books
purchases   what a purchase would bring, by these; `foresight` counts the hand-overs, before anything is bought
renting     which of a holder's leases is for which of his rentals
board       what is recorded, in the words of the assignment
launching   which specification the machines of a purchase begin with
deciding    what is to be recorded next: leases at the gate, at a running fill, at an end
maintenance hours in which a provider takes a machine away
counting    what is said of an hour that is over: `minutes` of each title, and who went without
sessions    agents that are alive: sequence, nonce, one at a time
orders      what an agent is to do
checking    the exchange's own login, by which minutes are counted
shell       reads `events`, writes `leases` and `delivery`; begin there
app         what the gateway passes on: `answers` to members and providers, `refusals`

One room works, by its lease. Whatever it decides is a record before anybody is told of it.
"""
