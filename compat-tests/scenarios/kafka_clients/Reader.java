import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** A consumer of whole partitions or a member of a group, with what it has fetched and nobody has asked for. */
final class Reader implements ConsumerRebalanceListener {
    private final String topic;
    private final KafkaConsumer<byte[], byte[]> consumer;
    private final List<ConsumerRecord<byte[], byte[]>> fetched = new ArrayList<>();
    private final Map<TopicPartition, OffsetAndMetadata> answered = new HashMap<>();

    private Reader(String topic, KafkaConsumer<byte[], byte[]> consumer) {
        this.topic = topic;
        this.consumer = consumer;
    }

    static KafkaConsumer<byte[], byte[]> open(String bootstrap, Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(more);
        settings.put("bootstrap.servers", bootstrap);
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", false);
        settings.put("fetch.max.wait.ms", 100);
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static Reader ofPartitions(String bootstrap, Command command) {
        String isolation = "read_" + command.option("isolation", "uncommitted");
        boolean latest = command.option("from", "earliest").equals("latest");
        command.refuseRest();
        Reader reader = new Reader(command.word(1), open(bootstrap, Map.of("isolation.level", isolation)));
        List<TopicPartition> partitions =
                IntStream.range(0, command.number(2)).mapToObj(reader::partition).collect(Collectors.toList());
        reader.consumer.assign(partitions);
        if (latest) {
            reader.consumer.seekToEnd(partitions);
            partitions.forEach(reader.consumer::position);
        }
        return reader;
    }

    static Reader ofGroup(String bootstrap, Command command) {
        Map<String, Object> settings = new HashMap<>(Map.of("group.id", command.word(1), "heartbeat.interval.ms", 300));
        settings.put("session.timeout.ms", command.option("session_timeout_ms", "6000"));
        String instance = command.option("instance", null);
        if (instance != null) {
            settings.put("group.instance.id", instance);
        }
        command.refuseRest();
        Reader reader = new Reader(command.word(2), open(bootstrap, settings));
        reader.consumer.subscribe(List.of(command.word(2)), reader);
        return reader;
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {}

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        fetched.removeIf(record -> partitions.contains(new TopicPartition(topic, record.partition())));
        answered.keySet().removeAll(partitions);
    }

    private TopicPartition partition(int index) {
        return new TopicPartition(topic, index);
    }

    String poll(int count, long ms) {
        return take(count, ms, record -> record.partition() + ":" + Command.encoded(record.value()));
    }

    String records(int count, long ms) {
        return take(count, ms, record -> {
            StringBuilder text = new StringBuilder();
            text.append(record.partition()).append(':').append(record.offset()).append(':').append(record.timestamp());
            text.append(':').append(Command.encoded(record.key())).append(':').append(Command.encoded(record.value()));
            for (Header header : record.headers()) {
                text.append(':').append(Command.encoded(header.key().getBytes(StandardCharsets.UTF_8)));
                text.append(':').append(Command.encoded(header.value()));
            }
            return text.toString();
        });
    }

    private String take(int count, long ms, Function<ConsumerRecord<byte[], byte[]>, String> shown) {
        long deadline = System.nanoTime() + ms * 1_000_000;
        do {
            boolean enough = fetched.size() >= count;
            long left = enough ? 0 : Math.max(deadline - System.nanoTime(), 0);
            consumer.poll(Duration.ofNanos(left)).forEach(fetched::add);
        } while (fetched.size() < count && System.nanoTime() < deadline);
        List<ConsumerRecord<byte[], byte[]>> asked = fetched.subList(0, Math.min(count, fetched.size()));
        for (ConsumerRecord<byte[], byte[]> record : asked) {
            answered.put(partition(record.partition()), new OffsetAndMetadata(record.offset() + 1));
        }
        String words = asked.stream().map(shown).collect(Collectors.joining(" "));
        asked.clear();
        return words;
    }

    String assignment() {
        return consumer.assignment().stream()
                .map(TopicPartition::partition)
                .sorted()
                .map(String::valueOf)
                .collect(Collectors.joining(" "));
    }

    long position(int index) {
        for (ConsumerRecord<byte[], byte[]> record : fetched) {
            if (record.partition() == index) {
                return record.offset();
            }
        }
        return consumer.position(partition(index));
    }

    void seek(int index, String offset) {
        fetched.removeIf(record -> record.partition() == index);
        if (offset.equals("earliest")) {
            consumer.seekToBeginning(List.of(partition(index)));
        } else if (offset.equals("latest")) {
            consumer.seekToEnd(List.of(partition(index)));
        } else {
            consumer.seek(partition(index), Long.parseLong(offset));
            return;
        }
        consumer.position(partition(index)); // the end is the one of now, not of the next poll
    }

    void commitOffsets() {
        consumer.commitSync(answered);
    }

    String committed(int index) {
        OffsetAndMetadata stored = consumer.committed(Set.of(partition(index))).get(partition(index));
        return stored == null ? "-" : String.valueOf(stored.offset());
    }

    void close() {
        consumer.close();
    }
}
