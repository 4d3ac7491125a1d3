"""A producer that waits for no answer."""
# except: kafka-python 2.3.3: it never sends a request that wants no answer
from _produce import plays_acks

plays_acks("0")
