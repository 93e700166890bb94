"""What each part of a trained model does."""
