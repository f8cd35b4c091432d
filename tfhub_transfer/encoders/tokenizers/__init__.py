"""Tokenizers of other families than BERT's, read from Hugging Face's files: graphs that TF has."""
