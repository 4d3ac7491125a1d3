import java.io.ByteArrayOutputStream;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;

/** A line that a worker is told: a name, plain words, and options; also how texts are written in one word. */
final class Command {
    private static final String PLAIN = "-_.!~*'()";

    final String name;
    final List<Header> headers = new ArrayList<>();
    private final List<String> words = new ArrayList<>();
    private final Map<String, String> options = new HashMap<>();

    Command(String line) {
        String[] parts = line.trim().split("\\s+");
        name = parts[0];
        for (String part : Arrays.copyOfRange(parts, 1, parts.length)) {
            int equals = part.indexOf('=');
            if (part.startsWith("header=")) {
                String[] pair = part.substring(equals + 1).split(":");
                headers.add(new RecordHeader(new String(decoded(pair[0]), StandardCharsets.UTF_8), decoded(pair[1])));
            } else if (equals < 0) {
                words.add(part);
            } else {
                options.put(part.substring(0, equals), part.substring(equals + 1));
            }
        }
    }

    String word(int index) {
        return words.get(index);
    }

    int number(int index) {
        return Integer.parseInt(word(index));
    }

    List<String> from(int index) {
        return words.subList(index, words.size());
    }

    /** An option, which is not left over any more. */
    String option(String key, String absent) {
        String value = options.remove(key);
        return value == null ? absent : value;
    }

    /** All that are left over. */
    Map<String, String> options() {
        Map<String, String> all = Map.copyOf(options);
        options.clear();
        return all;
    }

    void refuseRest() {
        if (!options.isEmpty()) {
            throw new IllegalArgumentException("options nobody knows: " + options);
        }
    }

    static byte[] decoded(String word) {
        if (word.equals("-")) {
            return null;
        }
        String plus = word.replace("+", "%2B"); // which the decoder would take for a space
        return word.equals(".") ? new byte[0] : URLDecoder.decode(plus, StandardCharsets.UTF_8).getBytes(StandardCharsets.UTF_8);
    }

    static String encoded(byte[] value) {
        if (value == null || value.length == 0) {
            return value == null ? "-" : ".";
        }
        ByteArrayOutputStream text = new ByteArrayOutputStream(value.length);
        for (byte next : value) {
            boolean plain = next > 0 && (Character.isLetterOrDigit(next) || PLAIN.indexOf(next) >= 0);
            byte[] written = plain ? new byte[] {next} : String.format("%%%02X", next).getBytes(StandardCharsets.US_ASCII);
            text.writeBytes(written);
        }
        return text.toString(StandardCharsets.US_ASCII);
    }
}
