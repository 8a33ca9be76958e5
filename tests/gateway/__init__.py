"""The door, asked from outside: a whole exchange on Apache Kafka and Postgres (`exchange`), started once for the folder.

And its parts by themselves. Begin with `test_stories`.
"""
