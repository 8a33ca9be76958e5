"""The process around the engine, over a simulated log: take-over, recovery, snapshots, quarantine, replay (`shard`)."""
