"""The command line `hourbook`: a member's, an operator's, and the one that starts an exchange on this machine.

It speaks to the exchange through the public API only (`client`), and starts rooms as processes of their own (`stack`).
"""
