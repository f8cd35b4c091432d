"""Private parts of Keras and TensorFlow, each behind one function; no other room touches any.

They may be gone with any version, so each says why no public way will do and with which version it
was last seen right, and `tests/private/` has a test of each, whose message names what broke.
"""
