"""A vision-language model that answers questions about images: one judge for several metrics."""
