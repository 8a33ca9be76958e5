"""Planted bugs: each names the invariant that it breaks and the test that must catch it."""
