"""The engine, one rule a test: people, a drawn book, one action, whole tables compared (`market`, `words`, `sentences`).

Begin with `test_sweep`. `golden` replays recorded logs of every engine version; `test_attacks` are the nine attacks on titles.
"""
