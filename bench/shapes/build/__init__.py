"""Makes every weight of the embedded suite from seeds: `python -m bench.shapes.build all`, or `make shapes`."""
