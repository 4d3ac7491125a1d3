"""The two examples in the package's own description: a message in, a message out."""
# broker: own
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from _common import *
from _readme import at, python_blocks

producer, consumer = (at(BOOTSTRAP, block) for block in python_blocks("aiokafka"))
produce = lambda: Program(*PYTHON, "-c", producer).wait()
produce()
forever = Program(*PYTHON, "-c", consumer)
line = forever.wait_for(lambda line: line.startswith("consumed"), meanwhile=produce)
assert "my_topic" in line and "Super message" in line, line
done()
