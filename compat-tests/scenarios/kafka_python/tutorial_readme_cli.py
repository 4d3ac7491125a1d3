"""The commands in the package's own description: the cluster, a topic, a message in and out."""
# broker: own group.initial.rebalance.delay.ms=0
# only: kafka-python >= 3.0
import subprocess
from importlib.metadata import metadata

from _helpers import *

forget("foo-topic")
described = metadata("kafka-python")
text = (described["Description"] or described.get_payload()).split(".. code-block:: bash\n\n")[1]
commands = [line.strip() for line in text.split("\n\n\n")[0].splitlines() if "localhost:9092" in line]
equal(len(commands), 4)
path = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]


def output(command):
    command = command.replace("localhost:9092", BOOTSTRAP)
    shell = subprocess.run(["bash", "-c", command], env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=90)
    print(command, shell.stdout, shell.stderr, sep="\n")
    equal(shell.returncode, 0)
    return shell.stdout


cluster = output(commands[0])
assert BOOTSTRAP.split(":")[1] in cluster, cluster
output(commands[1])
output(commands[2])
# The example gives up after a second: less than a new group waits by default, and at times than a busy machine takes.
until(lambda: "foo message" in output(commands[3]), "the message is read")
done()
