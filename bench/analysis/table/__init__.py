"""The table of comparable runs: rows, intervals, differences against a reference, caveats. `build` makes it."""
