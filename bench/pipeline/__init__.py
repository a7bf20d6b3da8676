"""The jobs that span stages: run (plan, generate, score, summarise), score again, trajectory."""
