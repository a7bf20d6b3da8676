"""The gate for CI: thresholds and a baseline in, one verdict per rule out."""
