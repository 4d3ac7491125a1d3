import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** A producer, with what it was given since the last flush. */
final class Writer {
    final KafkaProducer<byte[], byte[]> producer;
    private final List<Future<RecordMetadata>> sent = new ArrayList<>();

    Writer(String bootstrap, Command command) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", bootstrap));
        int patienceMs = Integer.parseInt(command.option("patience_ms", "30000"));
        settings.put("max.block.ms", patienceMs);
        settings.put("delivery.timeout.ms", patienceMs);
        settings.put("request.timeout.ms", patienceMs / 2);
        settings.put("compression.type", command.option("codec", "none"));
        String acks = command.option("acks", null);
        if (acks != null) {
            settings.put("acks", acks);
            settings.put("enable.idempotence", acks.equals("all"));
        }
        if (command.option("idempotence", "").equals("on")) {
            settings.put("enable.idempotence", true);
        }
        String identity = command.option("id", null);
        if (identity != null) {
            settings.put("transactional.id", identity);
            settings.put("transaction.timeout.ms", command.option("transaction_timeout_ms", "60000"));
        }
        command.refuseRest();
        producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
        if (identity != null) {
            producer.initTransactions();
        }
    }

    void send(Command command) {
        Integer partition = command.word(2).equals("-") ? null : Integer.valueOf(command.word(2));
        String timestamp = command.option("timestamp", null);
        byte[] key = Command.decoded(command.option("key", "-"));
        command.refuseRest();
        for (String value : command.from(3)) {
            Long time = timestamp == null ? null : Long.valueOf(timestamp);
            sent.add(producer.send(new ProducerRecord<>(
                    command.word(1), partition, time, key, Command.decoded(value), command.headers)));
        }
    }

    void flush() throws Exception {
        producer.flush();
        List<Future<RecordMetadata>> futures = List.copyOf(sent);
        sent.clear();
        for (Future<RecordMetadata> future : futures) {
            future.get();
        }
    }
}
