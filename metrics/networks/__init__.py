"""The networks behind metrics, and what an image goes through before them."""
