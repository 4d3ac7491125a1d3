import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs the main classes of Kafka's tools in one warm JVM, several at once, and tells what each printed and how it ended.
 *
 * <p>Lines of JSON come in: {"id", "main", "arguments", "input"} starts a tool, {"id", "stop": true} ends it as SIGTERM would.
 * Lines of JSON go out: {"id", "status", "output"}, the output being both streams in the order of their writing.
 *
 * <p>A tool sees a process of its own: its streams go by the thread and its children, its exit ends only it (nothing that it
 * does later is seen), and its classes are loaded anew, so that what they keep in static fields starts afresh. Tools that call
 * System.exit themselves and not Kafka's Exit cannot run here.
 */
public final class Runner {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final InheritableThreadLocal<Run> CURRENT = new InheritableThreadLocal<>();
    private static final Map<Long, Run> RUNNING = new ConcurrentHashMap<>();
    private static final PrintStream ANSWERS = System.out;
    private static final PrintStream STRAY = System.err;
    /** How a shell names an end by SIGTERM. */
    private static final int TERMINATED = 143;
    private static final long HOOKS_MS = 20_000;

    private Runner() {}

    public static void main(String[] arguments) throws IOException {
        System.setOut(new PrintStream(new Output(), true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(new Output(), true, StandardCharsets.UTF_8));
        InputStream requests = System.in;
        System.setIn(new Input());
        Exit.setExitProcedure((status, message) -> exit(status));
        Exit.setHaltProcedure((status, message) -> exit(status));
        Exit.setShutdownHookAdder((name, hook) -> CURRENT.get().add(hook));
        BufferedReader lines = new BufferedReader(new InputStreamReader(requests, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JsonNode request = JSON.readTree(line);
            long id = request.get("id").asLong();
            if (request.has("stop")) {
                Run run = RUNNING.get(id);
                if (run != null) {
                    new Thread(() -> run.end(TERMINATED), "stop-" + id).start();
                }
            } else {
                Run run = new Run(id, request);
                RUNNING.put(id, run);
                run.start();
            }
        }
        Runtime.getRuntime().halt(0);
    }

    private static void exit(int status) {
        Run run = CURRENT.get();
        run.end(status);
        throw new Ended();
    }

    /** Unwinds a tool that has ended; a tool may catch it, but what it does then is not seen. */
    private static final class Ended extends Error {
        private static final long serialVersionUID = 1L;

        Ended() {
            super("the tool has ended", null, false, false);
        }
    }

    /** One run of a tool. */
    private static final class Run extends Thread {
        private final long id;
        private final String main;
        private final String[] arguments;
        private final InputStream input;
        private final ByteArrayOutputStream output = new ByteArrayOutputStream();
        private final List<Runnable> hooks = new ArrayList<>();
        private boolean ending;
        private boolean ended;

        Run(long id, JsonNode request) {
            super("tool-" + id);
            setDaemon(true);
            this.id = id;
            main = request.get("main").asText();
            List<String> words = new ArrayList<>();
            request.get("arguments").forEach(word -> words.add(word.asText()));
            arguments = words.toArray(new String[0]);
            input = new ByteArrayInputStream(request.get("input").asText().getBytes(StandardCharsets.UTF_8));
        }

        @Override
        public void run() {
            CURRENT.set(this);
            int status = 0;
            try {
                Class<?> tool = load(main);
                setContextClassLoader(tool.getClassLoader());
                tool.getMethod("main", String[].class).invoke(null, (Object) arguments);
            } catch (InvocationTargetException failure) {
                System.err.print("Exception in thread \"main\" ");
                failure.getCause().printStackTrace();
                status = 1;
            } catch (Throwable failure) {
                failure.printStackTrace();
                status = 1;
            }
            end(status);
        }

        synchronized void add(Runnable hook) {
            hooks.add(hook);
        }

        synchronized void write(byte[] bytes, int from, int count) {
            if (!ended) {
                output.write(bytes, from, count);
            }
        }

        synchronized int read(byte[] bytes, int from, int count) throws IOException {
            return input.read(bytes, from, count);
        }

        /** Runs the hooks as a JVM that goes down does, and answers; the first end is the only one. */
        void end(int status) {
            synchronized (this) {
                if (ending) {
                    return;
                }
                ending = true;
            }
            List<Thread> threads = new ArrayList<>();
            for (Runnable hook : hooks) {
                Thread thread = new Thread(() -> {
                    CURRENT.set(this);
                    hook.run();
                }, "hook-" + id);
                thread.setDaemon(true);
                thread.start();
                threads.add(thread);
            }
            try {
                for (Thread thread : threads) {
                    thread.join(HOOKS_MS);
                }
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
            }
            answer(status);
        }

        private synchronized void answer(int status) {
            ended = true;
            RUNNING.remove(id);
            String text = output.toString(StandardCharsets.UTF_8);
            String answer = JSON.createObjectNode().put("id", id).put("status", status).put("output", text).toString();
            synchronized (ANSWERS) {
                ANSWERS.println(answer);
                ANSWERS.flush();
            }
        }
    }

    /** The class of a tool, loaded anew where it comes from the jar of the tools. */
    private static Class<?> load(String name) throws ClassNotFoundException {
        Class<?> known = Class.forName(name, false, Runner.class.getClassLoader());
        if (!name.startsWith(Fresh.PREFIX)) {
            return known;
        }
        URL jar = known.getProtectionDomain().getCodeSource().getLocation();
        return new Fresh(jar).loadClass(name);
    }

    /** Loads the classes of the tools' jar by itself, everything else where it always comes from. */
    private static final class Fresh extends URLClassLoader {
        static final String PREFIX = "org.apache.kafka.tools.";

        Fresh(URL jar) {
            super(new URL[] {jar}, Runner.class.getClassLoader());
        }

        @Override
        protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
            if (!name.startsWith(PREFIX)) {
                return super.loadClass(name, resolve);
            }
            synchronized (getClassLoadingLock(name)) {
                Class<?> loaded = findLoadedClass(name);
                if (loaded != null) {
                    return loaded;
                }
                try {
                    return findClass(name);
                } catch (ClassNotFoundException elsewhere) {
                    return super.loadClass(name, resolve);
                }
            }
        }
    }

    private static final class Output extends OutputStream {
        @Override
        public void write(int value) {
            write(new byte[] {(byte) value}, 0, 1);
        }

        @Override
        public void write(byte[] bytes, int from, int count) {
            Run run = CURRENT.get();
            if (run == null) {
                STRAY.write(bytes, from, count);
            } else {
                run.write(bytes, from, count);
            }
        }
    }

    private static final class Input extends InputStream {
        @Override
        public int read() throws IOException {
            byte[] one = new byte[1];
            return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
        }

        @Override
        public int read(byte[] bytes, int from, int count) throws IOException {
            return CURRENT.get().read(bytes, from, count);
        }
    }
}
