"""What was known about a trade at its moment."""
