"""The trade around the two models: from a submitted card to money paid."""
