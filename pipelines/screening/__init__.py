"""Rules, legal limits and lists of a workspace: their files and tables, and tests on stored history."""
