"""Matching: books, accounts and titles of a shard, one writer, replayable.

`engine` decides (pure; with `book`, `titles`, `invariants`, `snapshot`); `shell`, `follower` and `recovery` talk to the world.
"""
