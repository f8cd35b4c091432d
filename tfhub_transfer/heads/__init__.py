"""What stands between an encoder and an answer: settings, and layers made of them."""
