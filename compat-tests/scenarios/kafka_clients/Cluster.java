import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.ConsumerGroupListing;
import org.apache.kafka.clients.admin.DescribeTopicsResult;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** What is asked of the cluster and changed in it, with the admin client. */
final class Cluster {
    private final Admin admin;

    Cluster(String bootstrap) {
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    void makeTopic(Command command) throws Exception {
        NewTopic topic = new NewTopic(command.word(0), command.number(1), (short) 1);
        admin.createTopics(List.of(topic.configs(command.options()))).all().get();
    }

    String topics() throws Exception {
        return String.join(" ", admin.listTopics().names().get());
    }

    /** What gives the descriptions was renamed in 3.1 and lost its old name in 4.0. */
    int partitions(String topic) throws Exception {
        DescribeTopicsResult result = admin.describeTopics(List.of(topic));
        String name;
        try {
            name = result.getClass().getMethod("topicNameValues").getName();
        } catch (NoSuchMethodException older) {
            name = "values";
        }
        Object futures = result.getClass().getMethod(name).invoke(result);
        KafkaFuture<?> described = (KafkaFuture<?>) ((Map<?, ?>) futures).get(topic);
        return ((TopicDescription) described.get()).partitions().size();
    }

    void grow(String topic, int partitions) throws Exception {
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(partitions))).all().get();
    }

    void deleteTopic(String topic) throws Exception {
        admin.deleteTopics(List.of(topic)).all().get();
    }

    String config(String topic, String key) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        ConfigEntry entry = admin.describeConfigs(List.of(resource)).all().get().get(resource).get(key);
        return Command.encoded(entry.value().getBytes(StandardCharsets.UTF_8));
    }

    void alter(String topic, String key, String value) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        AlterConfigOp set = new AlterConfigOp(new ConfigEntry(key, value), AlterConfigOp.OpType.SET);
        Map<ConfigResource, Collection<AlterConfigOp>> changes = Map.of(resource, List.of(set));
        admin.incrementalAlterConfigs(changes).all().get();
    }

    String offset(String topic, int index, String wanted) throws Exception {
        TopicPartition partition = new TopicPartition(topic, index);
        OffsetSpec spec = wanted.equals("earliest")
                ? OffsetSpec.earliest()
                : wanted.equals("latest") ? OffsetSpec.latest() : OffsetSpec.forTimestamp(Long.parseLong(wanted));
        long offset = admin.listOffsets(Map.of(partition, spec)).all().get().get(partition).offset();
        return offset < 0 ? "-" : String.valueOf(offset);
    }

    long deleteRecords(String topic, int index, long offset) throws Exception {
        TopicPartition partition = new TopicPartition(topic, index);
        Map<TopicPartition, RecordsToDelete> wanted = Map.of(partition, RecordsToDelete.beforeOffset(offset));
        return admin.deleteRecords(wanted).lowWatermarks().get(partition).get().lowWatermark();
    }

    /** Newer versions have another name for it, which 2.8 and 3.9 do not know. */
    @SuppressWarnings({"deprecation", "removal"})
    String groups() throws ExecutionException, InterruptedException {
        return admin.listConsumerGroups().all().get().stream()
                .map(ConsumerGroupListing::groupId)
                .collect(Collectors.joining(" "));
    }

    /** The same holds for the state. */
    @SuppressWarnings({"deprecation", "removal"})
    String group(String group) throws ExecutionException, InterruptedException {
        ConsumerGroupDescription found = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
        return found.state() + " " + found.members().size();
    }

    void deleteGroup(String group) throws Exception {
        admin.deleteConsumerGroups(List.of(group)).all().get();
    }
}
