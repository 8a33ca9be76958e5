"""Supply: what clouds offer, read from their catalogues and put into the exchange's own classes.

Begin with `catalogue`, then `mapping`.
sources      which catalogues are polled (sources.toml), where they are and in which format
places       what a look at a source gives     files  a file, a folder     web  an address
connectors   the formats: skypilot, gpuhunt, vast; bytes → rows            tables  CSV within bounds
rows         what a row is, and which numbers and names are taken
gpu_info     SkyPilot's memory column, in its three dialects
rules        mapping.toml: how clouds name GPUs, forms, memory, regions
mapping      a row → offers of a class, or a refusal with its reason
catalogue    one poll of one catalogue: rows = mapped + refused
board        what is on the topic `offers`; what a poll changes there; which source counts; references per class
circuit      when a source is asked again
shell        the loop: look, publish           __main__   wiring
recorded/    public price facts with their sources, so that a sandbox shows real prices

It never sets a price to trade at. A price in a catalogue is a claim of the cloud: listed is not available.
Nobody calls it; it writes the topic `offers`. It imports `schemas` and `services.runtime`.
"""
