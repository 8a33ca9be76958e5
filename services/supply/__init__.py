"""Supply: what clouds offer, read from their catalogues and put into the exchange's own classes.

rows         a catalogue file in SkyPilot's format → rows, and the rows that are broken
gpu_info     the memory column, in its three dialects
rules        mapping.toml: how clouds name GPUs, forms, memory, regions
mapping      a row → offers of a class, or a refusal with its reason
catalogue    one poll of one file: rows = mapped + refused
board        what is on the topic `offers`; what a poll changes there; references per class
sources      which files are polled (sources.toml)
shell        the loop: poll, publish            __main__   wiring
recorded/    public price facts with their sources, so that a sandbox shows real prices

It never sets a price to trade at. A price in a catalogue is a claim of the cloud: listed is not available.
"""
