"""Rooms as processes on real servers: what they do together, and what they do when one of them is stopped or killed."""
