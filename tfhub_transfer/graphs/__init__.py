"""SavedModels as graphs of TensorFlow: surgery, rewriting, what one may do."""
