"""Values -> judgements: intervals, differences, comparability, summaries. Nothing here writes a page or a verdict."""
