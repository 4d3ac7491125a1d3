import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.testcontainers.containers.GenericContainer;
import org.testcontainers.containers.Network;
import org.testcontainers.kafka.ConfluentKafkaContainer;
import org.testcontainers.kafka.KafkaContainer;
import org.testcontainers.utility.DockerImageName;

/**
 * The Kafka modules of testcontainers for Java with this image in the place of theirs.
 *
 * <p>{@code Worker IMAGE:TAG apache|confluent|old-kraft|old-zookeeper}; ends with OK.
 */
public final class Worker {
    private Worker() {}

    public static void main(String[] arguments) {
        DockerImageName image = DockerImageName.parse(arguments[0]);
        DockerImageName confluent = image.asCompatibleSubstituteFor("confluentinc/cp-kafka");
        switch (arguments[1]) {
            case "apache" -> use(
                new KafkaContainer(image.asCompatibleSubstituteFor("apache/kafka")),
                KafkaContainer::getBootstrapServers);
            case "confluent" -> {
                try (Network network = Network.newNetwork()) {
                    use(
                        new ConfluentKafkaContainer(confluent).withNetwork(network).withListener("other:19092"),
                        ConfluentKafkaContainer::getBootstrapServers);
                }
            }
            case "old-kraft" -> use(old(confluent).withKraft(), Worker::addressOfOld);
            case "old-zookeeper" -> use(old(confluent), Worker::addressOfOld);
            default -> throw new IllegalArgumentException(arguments[1]);
        }
        System.out.println("OK");
        System.exit(0);
    }

    @SuppressWarnings("deprecation")
    private static org.testcontainers.containers.KafkaContainer old(DockerImageName image) {
        return new org.testcontainers.containers.KafkaContainer(image);
    }

    @SuppressWarnings("deprecation")
    private static String addressOfOld(org.testcontainers.containers.KafkaContainer container) {
        return container.getBootstrapServers();
    }

    private static <C extends GenericContainer<?>> void use(C container, Function<C, String> address) {
        try (container) {
            container.start();
            produceAndConsume(address.apply(container));
        }
    }

    private static void produceAndConsume(String address) {
        List<String> sent = new ArrayList<>();
        Map<String, Object> producing = Map.of("bootstrap.servers", address, "acks", "all");
        try (var producer = new KafkaProducer<>(producing, new StringSerializer(), new StringSerializer())) {
            for (int n = 0; n < 10; n++) {
                sent.add("value-" + n);
                producer.send(new ProducerRecord<>("visits", "key-" + n, "value-" + n));
            }
        }
        Map<String, Object> consuming =
            Map.of("bootstrap.servers", address, "group.id", "visitors", "auto.offset.reset", "earliest");
        List<String> found = new ArrayList<>();
        try (var consumer = new KafkaConsumer<>(consuming, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of("visits"));
            long end = System.nanoTime() + Duration.ofSeconds(40).toNanos();
            while (found.size() < sent.size() && System.nanoTime() < end) {
                consumer.poll(Duration.ofMillis(200)).forEach(record -> found.add(record.value()));
            }
        }
        if (!found.equals(sent)) {
            throw new AssertionError("sent " + sent + ", found " + found);
        }
    }
}
