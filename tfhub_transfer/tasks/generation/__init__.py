"""Tasks whose answer is text: a decoder writes it, piece by piece, from what the encoder read."""
