"""Bytes that must stay what they are (`golden`), sums that must come out, and readers that must notice."""
