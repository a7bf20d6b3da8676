"""Parts of the scoring stage (`bench.score`): what is to do, and how one metric scores one chunk of images."""
