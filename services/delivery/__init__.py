"""Delivery: which machine serves whom in which hour. Begin with `assignment`."""
