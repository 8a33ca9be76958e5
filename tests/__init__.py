"""Mirrors services/ room by room; plus what concerns the whole.

integration/   rooms as processes on real servers
simulation/    a whole exchange in one process, with faults, from a seed
reference/     a second engine, written from the rules
mutants/       planted bugs, each caught by the test that it names
test_rules, test_documents: what docs/ name is there. test_skips: a skipped test has a reason from conftest's list.

A package, because some distributions install a `tests` of their own, which would hide a folder without this file.
"""
