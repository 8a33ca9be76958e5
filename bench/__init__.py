"""One module per figure: `python -m bench.NAME` prints one JSON line; `make bench` runs all of them.

Begin with `figures`, which lists what is measured and what is wanted of it, then `measure`: each side runs in a process of its
own, the sides in turn, and the spread is shown. `document` writes docs/benchmarks.md from the lines of a run and from notes.toml.
Shared by the benches: `flow` and `shard` (what is traded), `logs` and `servers` (where). A bench may import any room: it measures
them as deployed.
"""
