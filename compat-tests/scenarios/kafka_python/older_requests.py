"""Versions of requests that Kafka 4 has dropped, written and read by a library of their time."""
from _helpers import *

try:
    from kafka.protocol.admin import CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest

    try:
        from kafka.protocol.list_offsets import ListOffsetsRequest
    except ImportError:
        from kafka.protocol.offset import OffsetRequest as ListOffsetsRequest
    CREATE, DELETE, DESCRIBE, LIST = (
        each[0] for each in (CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest, ListOffsetsRequest)
    )
    CREATE_1 = CreateTopicsRequest[1]
except (ImportError, TypeError):
    absent("the library writes newer versions only")

from kafka.client_async import KafkaClient

client = KafkaClient(bootstrap_servers=BOOTSTRAP)
until(lambda: client.least_loaded_node() is not None, "a node")
listed = client.get_api_versions() or {}
if any(listed.get(request.API_KEY, (1, 1))[0] > 0 for request in (CREATE, DELETE, DESCRIBE, LIST)):
    skip("the broker does not list version 0 of these requests")


def ask(request):
    node = client.least_loaded_node()
    until(lambda: client.ready(node) or client.poll(timeout_ms=100) and False, "a connection")
    future = client.send(node, request)
    client.poll(future=future)
    assert future.succeeded(), future.exception
    return future.value


RETENTION = [("retention.ms", "77777")]
first, second = unique("older"), unique("older")
equal(ask(CREATE([(first, 1, 1, [], RETENTION)], 30000)).topic_errors, [(first, 0)])
equal(ask(CREATE([(first, 1, 1, [], [])], 30000)).topic_errors, [(first, 36)])
equal(ask(CREATE_1([(second, 1, 1, [], [])], 30000, True)).topic_errors, [(second, 0, None)])
assert second not in consumer().topics(), "it was only to be validated"

[(code, _, _, _, rows)] = ask(DESCRIBE([(2, first, ["retention.ms", "cleanup.policy"])])).resources
equal(code, 0)
equal(sorted(rows), [("cleanup.policy", "delete", False, True, False), ("retention.ms", "77777", False, False, False)])

send_all(first, [b"a", b"b", b"c"], partition=0)


def offsets(timestamp, count):
    [(_, [(partition, code, found)])] = ask(LIST(-1, [(first, [(0, timestamp, count)])])).topics
    equal((partition, code), (0, 0))
    return list(found)


equal(offsets(-1, 1), [3])
equal(offsets(-2, 1), [0])
equal(offsets(-1, 5), [3, 0])
equal(offsets(1, 5), [])

equal(ask(DELETE([first], 30000)).topic_error_codes, [(first, 0)])
equal(ask(DELETE([first], 30000)).topic_error_codes, [(first, 3)])
done()
