"""Mirrors services/; plus integration/ (real Kafka, real Postgres), simulation/ and mutants/.

A package, because some distributions install a `tests` of their own, which would hide a folder without this file.
"""
