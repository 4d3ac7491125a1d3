import java.io.BufferedReader;
import java.io.IOException;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.errors.OutOfOrderSequenceException;
import org.apache.kafka.common.errors.ProducerFencedException;

/** Consumes, transforms and produces, with the offsets in the transaction. */
final class Transform {
    private static final int MAX_RECORDS = 10;
    private static final int SESSION_TIMEOUT_MS = 3000;

    private final BufferedReader input;
    private final String source;
    private final String target;
    private byte[] stall;

    Transform(BufferedReader input, Command command) {
        this.input = input;
        source = command.word(0);
        target = command.word(1);
        stall = Command.decoded(command.word(4));
    }

    void run(String bootstrap, String group, String identity) throws IOException {
        Map<String, Object> settings = Map.of(
                "group.id", group,
                "isolation.level", "read_committed",
                "max.poll.records", MAX_RECORDS,
                "session.timeout.ms", SESSION_TIMEOUT_MS,
                "heartbeat.interval.ms", 300);
        Command options = new Command("producer id=" + identity);
        try (KafkaConsumer<byte[], byte[]> consumer = Reader.open(bootstrap, settings);
                KafkaProducer<byte[], byte[]> producer = new Writer(bootstrap, options).producer) {
            consumer.subscribe(List.of(source));
            while (true) {
                ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(200));
                if (records.isEmpty()) {
                    continue;
                }
                try {
                    transact(consumer, producer, records);
                } catch (ProducerFencedException | OutOfOrderSequenceException | AuthorizationException error) {
                    throw error;
                } catch (KafkaException error) {
                    producer.abortTransaction();
                    rewind(consumer);
                }
            }
        }
    }

    private void transact(
            KafkaConsumer<byte[], byte[]> consumer,
            KafkaProducer<byte[], byte[]> producer,
            ConsumerRecords<byte[], byte[]> records)
            throws IOException {
        producer.beginTransaction();
        boolean stalls = false;
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (ConsumerRecord<byte[], byte[]> record : records) {
            byte[] made = Arrays.copyOf(record.value(), record.value().length + 1);
            made[record.value().length] = '!';
            producer.send(new ProducerRecord<>(target, record.partition(), null, made));
            offsets.put(new TopicPartition(source, record.partition()), new OffsetAndMetadata(record.offset() + 1));
            stalls |= Arrays.equals(record.value(), stall);
        }
        stall = stalls ? null : stall;
        producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
        producer.flush();
        if (stalls && askedToAbort()) {
            producer.abortTransaction();
            rewind(consumer);
            return;
        }
        producer.commitTransaction();
        System.out.println("committed " + records.count());
    }

    private boolean askedToAbort() throws IOException {
        System.out.println("stalled");
        return "abort".equals(input.readLine());
    }

    private static void rewind(KafkaConsumer<byte[], byte[]> consumer) {
        Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(new HashSet<>(consumer.assignment()));
        for (TopicPartition partition : consumer.assignment()) {
            OffsetAndMetadata stored = committed.get(partition);
            consumer.seek(partition, stored == null ? 0 : stored.offset());
        }
    }
}
