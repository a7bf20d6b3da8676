"""How planned work is executed: in this process, or by the workers of a cluster. What comes of it is the same."""
