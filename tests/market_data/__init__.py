"""The feed, held against the engine: what a `client` rebuilds of books and accounts equals the engine's own after each output."""
