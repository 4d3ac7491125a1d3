"""A producer that waits for no answer."""
from _produce import plays_acks

plays_acks("0")
