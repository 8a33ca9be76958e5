"""Logs, leases, servers and processes, on Apache Kafka and on the sandbox's broker alike."""
