"""The parts of the generating stage: what is to do, the batches, and the threads that decode and write."""
