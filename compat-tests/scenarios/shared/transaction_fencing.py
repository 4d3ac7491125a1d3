"""A second producer takes a transactional id over: the first one is told that it is fenced, and never writes visibly again."""
from _helpers import *

worker = Worker()
topic = worker.topic(2)
GOES_ON = ("send ZOMBIE TOPIC 0 late", "flush ZOMBIE", "commit ZOMBIE", "abort ZOMBIE", "begin ZOMBIE")
for zombie, tries in (("at-its-commit", ("commit ZOMBIE",)), ("on-and-on", GOES_ON)):
    identity, heir, fenced = unique("id"), "heir-of-" + zombie, []
    worker.transactional(zombie, identity)
    worker.ask("begin", zombie)
    worker.send(zombie, topic, [["open"], ["open"]])
    worker.transactional(heir, identity)  # ends that transaction

    def told():
        for words in tries:
            try:
                worker.ask(*words.replace("ZOMBIE", zombie).replace("TOPIC", topic).split())
            except Refused as error:
                print(error)
                fenced.append(error.fenced)
            else:
                assert not words.startswith("commit"), "a zombie has committed"
        return any(fenced)

    until(told, f"{zombie} is told that it is fenced")
    worker.ask("begin", heir)
    worker.send(heir, topic, [[heir], []])
    worker.ask("commit", heir)
worker.finish(topic, 2)
exactly(worker.read(topic, 2), [["heir-of-at-its-commit", "heir-of-on-and-on"], []])
done()
