"""How good a model is: metrics with the time order kept."""
