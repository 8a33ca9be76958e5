"""The ledger in memory (`people`, `told`, `dict_store`): entries line by line, contradictions, crashes between any two steps."""
