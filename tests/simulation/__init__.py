"""The exchange in one process: production protocol code over a simulated log, clock and database, from one seed."""
