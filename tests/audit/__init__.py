"""The auditor is tried on a day that real code has lived and stored, and on that day with one thing in it changed."""
