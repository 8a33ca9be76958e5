"""The command line as people meet it: typed into a terminal, against a sandbox, against nothing, and with every mistake."""
