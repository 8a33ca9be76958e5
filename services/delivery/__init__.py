"""Delivery: which machine serves whom in which hour. Begin with `assignment`.

fleet        titles, machines, slots: what the assignment works on
assignment   titles of a class → seats; hand-overs and exchanges of it
hosting      whose machines serve whom      seating   which of their seats
placing      a title bought in mid-hour, on what is free
foresight    hand-overs to be expected, before anything is bought
"""
