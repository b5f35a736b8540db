"""What runs, in order: training, the recycling flow, the synthetic market."""
