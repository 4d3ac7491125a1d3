"""Every setting at its default; from 3.0 on that is an idempotent producer."""
from _helpers import *

roundtrip(count=2000)
done()
