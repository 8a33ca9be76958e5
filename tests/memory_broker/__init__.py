"""The sandbox's broker by itself. That it does as Kafka does is shown in tests/runtime, which runs on both."""
