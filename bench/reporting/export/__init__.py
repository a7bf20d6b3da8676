"""Results where the community looks: the hub's evaluation results, Croissant, experiment trackers."""
