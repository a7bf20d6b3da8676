"""What is evaluated: the schema of suite files, loading, prompts, resolved methods, the plan of a run."""
