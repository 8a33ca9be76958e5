"""The command line `hourbook`: a member's, an operator's, and the one that starts an exchange on this machine.

It speaks to the exchange through the public API only (`client`), and starts rooms as processes of their own (`stack`).
It begins in `start`; read `__main__` first, then `trade`. What every command is given: `context`; how it shows and how
it fails: `output`, `errors`.

A member's      `member`, `trade`, `change`, `quote`, `desk`, `volume`; which hours (`hours`, `times`); previews (`foretold`)
An operator's   `admin`, `status`, and `tools` of other rooms: audit, replay, snapshot, archive, quarantine
This machine's  `local` starts, `keeper` keeps running, `furnishing` makes a new exchange ready, `stack` is what is started;
                 `rooms` their names, `profile` whom it speaks for, `files` its keys; `agent` lets tenants in
A tenant's      `rent` keeps hours bought, `rentals` shows, changes and stops that; `leases`: which machines there are, what is to
                 be found on them, how to log in; a provider's machines
The screen      `watching` reads the feed and draws `board` from what is `seen`

People call it. It imports `schemas` and `services.runtime`, and reaches other rooms as processes only.
"""
