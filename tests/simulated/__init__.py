"""The simulated cloud and the demo members: what they buy, what they want, and that each says what it is."""
