"""The hostile day: a whole exchange of real processes under orders, hurt in every way that we could think of, healed, and judged.

    python -m tests.chaos                         minutes; the seed is the first line, HOURBOOK_SEED=123 draws the same faults
    MINUTES=60 python -m tests.chaos              hours, by as many
    ONCE=1 DAMAGE=0 python -m tests.chaos         nearly every fault once, in a fixed order: a minute and a half

exchange    what `make up` starts, with a second gateway, a second settlement, two machines, and every connection by way of a lane
lanes       TCP in between, which can be cut, silenced and slowed
load        members who trade and rent, and ask again what they were not answered
receipts    every word that they were told
faults      what is done to it: each is entered, lasts, and is left again
moments     kills at an instant that is waited for: between commit and outbox, between two parts of an output, ...
records     what somebody with the administrator's login writes into the logs
storm       which fault when, from the seed; and the calm after each wave, in which lag must return to zero
judge       receipts against the log, ledger against the books of those who paid, and the auditor
rooms       rentals, machines and minutes, judged from the logs of the rooms that decide on them
damage      logs cut or replaced, in copies of an exchange that was stopped: who must not go on

A seed decides which faults are drawn, and when: what real processes make of them is a new day each time.
"""
