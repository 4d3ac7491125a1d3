import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.errors.OutOfOrderSequenceException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** The worker of the Java client; _serve.py says what a worker does. */
final class Worker {
    private static final int MAX_RECORDS = 10;
    private static final int SESSION_TIMEOUT_MS = 3000;

    private final String bootstrap;
    private final BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    private final Map<String, KafkaProducer<String, String>> producers = new HashMap<>();
    private final Map<String, List<Future<RecordMetadata>>> sent = new HashMap<>();
    private final Map<String, Reader> readers = new HashMap<>();

    private Worker(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    public static void main(String[] arguments) throws IOException {
        new Worker(arguments[0]).serve();
    }

    private void serve() throws IOException {
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            try {
                System.out.println(("ok " + obey(line.split(" "))).trim());
            } catch (ExecutionException error) {
                System.out.println(described(error.getCause()));
            } catch (Exception error) {
                System.out.println(described(error));
            }
        }
        System.exit(0);
    }

    private static String described(Throwable error) {
        boolean fenced = false;
        for (Throwable cause = error; cause != null; cause = cause.getCause()) {
            fenced |= cause instanceof ProducerFencedException;
        }
        String text = String.valueOf(error.getMessage()).replaceAll("\\s+", " ");
        return "error " + (fenced ? "fenced " : "other ") + error.getClass().getSimpleName() + " " + text;
    }

    private String obey(String[] words) throws Exception {
        switch (words[0]) {
            case "topic":
                try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
                    NewTopic topic = new NewTopic(words[1], Integer.parseInt(words[2]), (short) 1);
                    admin.createTopics(List.of(topic)).all().get();
                }
                return "";
            case "producer":
                producers.put(words[1], openProducer(words[2], words[3]));
                return "";
            case "begin":
                producers.get(words[1]).beginTransaction();
                return "";
            case "commit":
                producers.get(words[1]).commitTransaction();
                return "";
            case "abort":
                producers.get(words[1]).abortTransaction();
                return "";
            case "send":
                for (String value : Arrays.copyOfRange(words, 4, words.length)) {
                    ProducerRecord<String, String> record =
                            new ProducerRecord<>(words[2], Integer.valueOf(words[3]), null, value);
                    sent.computeIfAbsent(words[1], name -> new ArrayList<>()).add(producers.get(words[1]).send(record));
                }
                return "";
            case "flush":
                flush(words[1]);
                return "";
            case "consumer":
                readers.put(words[1], new Reader(words[2], Integer.parseInt(words[3]), "read_" + words[4]));
                return "";
            case "poll":
                return readers.get(words[1]).poll(Integer.parseInt(words[2]), Long.parseLong(words[3]));
            case "transform":
                transform(words[1], words[2], words[3], words[4], words[5]);
                return "";
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }

    private void flush(String name) throws Exception {
        producers.get(name).flush();
        List<Future<RecordMetadata>> futures = sent.remove(name);
        for (Future<RecordMetadata> future : futures == null ? List.<Future<RecordMetadata>>of() : futures) {
            future.get();
        }
    }

    private KafkaProducer<String, String> openProducer(String identity, String timeoutMs) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", bootstrap));
        if (!identity.equals("-")) {
            settings.put("transactional.id", identity);
            settings.put("transaction.timeout.ms", timeoutMs);
        }
        KafkaProducer<String, String> producer =
                new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
        if (!identity.equals("-")) {
            producer.initTransactions();
        }
        return producer;
    }

    private KafkaConsumer<String, String> openConsumer(Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(more);
        settings.put("bootstrap.servers", bootstrap);
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", false);
        settings.put("fetch.max.wait.ms", 100);
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    /** A consumer of whole partitions, with what it has fetched and nobody has asked for. */
    private final class Reader {
        private final KafkaConsumer<String, String> consumer;
        private final List<String> fetched = new ArrayList<>();

        Reader(String topic, int partitions, String isolation) {
            consumer = openConsumer(Map.of("isolation.level", isolation));
            consumer.assign(IntStream.range(0, partitions)
                    .mapToObj(index -> new TopicPartition(topic, index))
                    .collect(Collectors.toList()));
        }

        String poll(int count, long ms) {
            long deadline = System.nanoTime() + ms * 1_000_000;
            while (fetched.size() < count && System.nanoTime() < deadline) {
                long left = Math.max(deadline - System.nanoTime(), 0);
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofNanos(left))) {
                    fetched.add(record.partition() + ":" + record.value());
                }
            }
            List<String> asked = fetched.subList(0, Math.min(count, fetched.size()));
            String words = String.join(" ", asked);
            asked.clear();
            return words;
        }
    }

    private void transform(String source, String target, String group, String identity, String stall)
            throws IOException {
        Map<String, Object> settings = Map.of(
                "group.id", group,
                "isolation.level", "read_committed",
                "max.poll.records", MAX_RECORDS,
                "session.timeout.ms", SESSION_TIMEOUT_MS,
                "heartbeat.interval.ms", 300);
        try (KafkaConsumer<String, String> consumer = openConsumer(settings);
                KafkaProducer<String, String> producer = openProducer(identity, "60000")) {
            consumer.subscribe(List.of(source));
            while (true) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
                if (records.isEmpty()) {
                    continue;
                }
                try {
                    producer.beginTransaction();
                    boolean stalls = false;
                    Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                    for (ConsumerRecord<String, String> record : records) {
                        producer.send(new ProducerRecord<>(target, record.partition(), null, record.value() + "!"));
                        offsets.put(
                                new TopicPartition(source, record.partition()),
                                new OffsetAndMetadata(record.offset() + 1));
                        stalls |= record.value().equals(stall);
                    }
                    stall = stalls ? "-" : stall;
                    producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                    producer.flush();
                    if (stalls && askedToAbort()) {
                        producer.abortTransaction();
                        rewind(consumer);
                        continue;
                    }
                    producer.commitTransaction();
                    System.out.println("committed " + records.count());
                } catch (ProducerFencedException | OutOfOrderSequenceException | AuthorizationException error) {
                    throw error;
                } catch (KafkaException error) {
                    producer.abortTransaction();
                    rewind(consumer);
                }
            }
        }
    }

    private boolean askedToAbort() throws IOException {
        System.out.println("stalled");
        return "abort".equals(input.readLine());
    }

    private static void rewind(KafkaConsumer<String, String> consumer) {
        Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(new HashSet<>(consumer.assignment()));
        for (TopicPartition partition : consumer.assignment()) {
            OffsetAndMetadata stored = committed.get(partition);
            consumer.seek(partition, stored == null ? 0 : stored.offset());
        }
    }
}
