"""Results over time and suites: records that a repository can collect and check, and a static site of them."""
