"""A second engine, written from docs/engine.md alone (`naive_*`, which import no part of the first), and a flow of commands.

Both must answer with the same bytes (`duel`). `python -m tests.reference` runs more of it; `coverage` says what a run never
reached; `bugs` are planted in the second engine, and found.
"""
