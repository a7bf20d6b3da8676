"""The one denoising loop: counter-based noise, and a tree of the steps that methods share."""
