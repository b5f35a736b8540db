"""The synthetic market used by the demo, the tests and what-if questions."""
