"""How well a trained model predicts: on which data, at which position, at which length."""
