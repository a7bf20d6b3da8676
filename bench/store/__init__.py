"""What is on disk: rows, run folders, atomic files, cards. Nothing here judges or generates."""
