"""What a trained model is worth, beside simple baselines."""
