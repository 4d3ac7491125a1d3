"""A producer that waits for the leader."""
from _produce import plays_acks

plays_acks("1")
