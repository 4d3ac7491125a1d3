"""A producer that waits for all replicas in sync."""
from _produce import plays_acks

plays_acks("all")
