"""From a trained model to answers in external ids: predictions, lists, neighbours."""
