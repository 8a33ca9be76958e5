"""Titles and machines: who sits where, and who has to move. Begin with `test_assignment`.

`drawing` reads fleets and titles from words, `checker` judges an assignment by the rules alone, `exact` tries everything.
"""
