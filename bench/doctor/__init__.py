"""What works on this machine, and the proof that the scorers equal their originals."""
