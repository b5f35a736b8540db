"""What a card is worth and what to offer."""
