"""The process: devices, threads, progress, log, provenance."""
