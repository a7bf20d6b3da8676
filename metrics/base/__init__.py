"""What metrics are built on: their kinds, features of images, pairs, caches of prompts."""
