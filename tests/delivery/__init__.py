"""Titles and machines: who sits where, and who has to move. `checker` judges an assignment by the rules alone, `exact` tries everything.

Begin with `test_assignment`. Machines and titles are drawn in `drawing`.
"""
