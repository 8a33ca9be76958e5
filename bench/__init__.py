"""One module per figure: `python -m bench.NAME` prints one JSON line; `make bench` runs all of them."""
