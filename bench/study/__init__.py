"""The human preference study: makes it from runs, serves or exports it, takes answers in, and judges them."""
