"""How likely a trade is fraudulent, why, and what to do about it."""
