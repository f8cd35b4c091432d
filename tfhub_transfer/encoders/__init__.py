"""Text encoders: found, loaded, converted, fed; the Keras layer that they become."""
