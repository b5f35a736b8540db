"""What is concluded from the features: the discount model, the fraud model, the decision."""
