import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** The worker of the Java client; _serve.py says what a worker does. Compiles against every version of the matrix. */
final class Worker {
    private static final Map<Class<? extends Exception>, String> KINDS = Map.of(
            ProducerFencedException.class, "fenced",
            RecordTooLargeException.class, "too_large",
            UnknownTopicOrPartitionException.class, "unknown_topic",
            TopicExistsException.class, "topic_exists",
            CommitFailedException.class, "stale_member");

    private final String bootstrap;
    private final BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    private final Map<String, Writer> writers = new HashMap<>();
    private final Map<String, Reader> readers = new HashMap<>();
    private Cluster opened;

    private Worker(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    public static void main(String[] arguments) throws IOException {
        new Worker(arguments[0]).serve();
    }

    private void serve() throws IOException {
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            try {
                System.out.println(("ok " + obey(new Command(line))).trim());
            } catch (ExecutionException error) {
                System.out.println(described(error.getCause()));
            } catch (Exception error) {
                System.out.println(described(error));
            }
        }
        System.exit(0);
    }

    private static String described(Throwable error) {
        String kind = "other";
        for (Throwable cause = error; cause != null && kind.equals("other"); cause = cause.getCause()) {
            kind = KINDS.getOrDefault(cause.getClass(), "other");
        }
        String text = String.valueOf(error.getMessage()).replaceAll("\\s+", " ");
        return "error " + kind + " " + error.getClass().getSimpleName() + " " + text;
    }

    private String obey(Command command) throws Exception {
        String name = command.from(0).isEmpty() ? "" : command.word(0);
        switch (command.name) {
            case "producer":
                writers.put(name, new Writer(bootstrap, command));
                return "";
            case "consumer":
                readers.put(name, Reader.ofPartitions(bootstrap, command));
                return "";
            case "member":
                readers.put(name, Reader.ofGroup(bootstrap, command));
                return "";
            case "transform":
                new Transform(input, command).run(bootstrap, command.word(2), command.word(3));
                return "";
            case "close":
                close(name);
                return "";
            default:
                if (writers.containsKey(name)) {
                    produce(writers.get(name), command);
                    return "";
                }
                return readers.containsKey(name) ? consume(readers.get(name), command) : ask(cluster(), name, command);
        }
    }

    private void close(String name) {
        if (writers.containsKey(name)) {
            writers.remove(name).producer.close();
        } else {
            readers.remove(name).close();
        }
    }

    private Cluster cluster() {
        if (opened == null) {
            opened = new Cluster(bootstrap);
        }
        return opened;
    }

    private static void produce(Writer writer, Command command) throws Exception {
        switch (command.name) {
            case "send":
                writer.send(command);
                return;
            case "flush":
                writer.flush();
                return;
            case "begin":
                writer.producer.beginTransaction();
                return;
            case "commit":
                writer.producer.commitTransaction();
                return;
            case "abort":
                writer.producer.abortTransaction();
                return;
            default:
                throw new IllegalArgumentException(command.name);
        }
    }

    private static String consume(Reader reader, Command command) {
        switch (command.name) {
            case "poll":
                return reader.poll(command.number(1), command.number(2));
            case "records":
                return reader.records(command.number(1), command.number(2));
            case "assignment":
                return reader.assignment();
            case "position":
                return String.valueOf(reader.position(command.number(1)));
            case "seek":
                reader.seek(command.number(1), command.word(2));
                return "";
            case "commit_offsets":
                reader.commitOffsets();
                return "";
            case "committed":
                return reader.committed(command.number(1));
            default:
                throw new IllegalArgumentException(command.name);
        }
    }

    private static String ask(Cluster cluster, String name, Command command) throws Exception {
        switch (command.name) {
            case "topic":
                cluster.makeTopic(command);
                return "";
            case "topics":
                return cluster.topics();
            case "partitions":
                return String.valueOf(cluster.partitions(name));
            case "grow":
                cluster.grow(name, command.number(1));
                return "";
            case "delete_topic":
                cluster.deleteTopic(name);
                return "";
            case "config":
                return cluster.config(name, command.word(1));
            case "alter":
                cluster.alter(name, command.word(1), command.word(2));
                return "";
            case "offset":
                return cluster.offset(name, command.number(1), command.word(2));
            case "delete_records":
                return String.valueOf(cluster.deleteRecords(name, command.number(1), Long.parseLong(command.word(2))));
            case "groups":
                return cluster.groups();
            case "group":
                return cluster.group(name);
            case "delete_group":
                cluster.deleteGroup(name);
                return "";
            default:
                throw new IllegalArgumentException(command.name);
        }
    }
}
