// The work on Confluent's Parallel Consumer with its Vert.x client: unordered, idempotent, a commit every 100 ms.
// usage: ParallelWindow BOOTSTRAP TOPIC OUT GROUP ENDPOINT IN_FLIGHT

import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.vertx.VertxParallelEoSStreamProcessor;
import io.vertx.core.Promise;
import io.vertx.core.Vertx;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.json.JsonArray;
import io.vertx.core.json.JsonObject;
import io.vertx.ext.web.client.HttpRequest;
import io.vertx.ext.web.client.WebClient;
import io.vertx.ext.web.client.WebClientOptions;
import java.net.URI;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class ParallelWindow {
    static final String NAMES = "content-type;host;x-acs-action;x-acs-content-sha256;x-acs-date;"
            + "x-acs-signature-nonce;x-acs-version";

    static String sha256(byte[] data) throws Exception {
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(data));
    }

    static void sign(HttpRequest<Buffer> request, byte[] body, String host) throws Exception {
        String digest = sha256(body);
        String date = Instant.now().truncatedTo(ChronoUnit.SECONDS).toString();
        String nonce = UUID.randomUUID().toString().replace("-", "");
        String canonical = "POST\n/\n\ncontent-type:application/x-www-form-urlencoded\nhost:" + host
                + "\nx-acs-action:TextModerationPlus\nx-acs-content-sha256:" + digest + "\nx-acs-date:" + date
                + "\nx-acs-signature-nonce:" + nonce + "\nx-acs-version:2022-03-02\n\n" + NAMES + "\n" + digest;
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec("testsecret".getBytes(), "HmacSHA256"));
        String toSign = "ACS3-HMAC-SHA256\n" + sha256(canonical.getBytes(StandardCharsets.UTF_8));
        String signature = HexFormat.of().formatHex(mac.doFinal(toSign.getBytes()));
        request.putHeader("content-type", "application/x-www-form-urlencoded")
                .putHeader("x-acs-action", "TextModerationPlus")
                .putHeader("x-acs-content-sha256", digest)
                .putHeader("x-acs-date", date)
                .putHeader("x-acs-signature-nonce", nonce)
                .putHeader("x-acs-version", "2022-03-02")
                .putHeader("Authorization", "ACS3-HMAC-SHA256 Credential=testid,SignedHeaders=" + NAMES
                        + ",Signature=" + signature);
    }

    static byte[] form(JsonObject event) {
        String content = new JsonObject().put("content", event.getString("text"))
                .put("dataId", event.getString("id")).encode();
        return ("Service=ugc_moderation_byllm&ServiceParameters="
                + URLEncoder.encode(content, StandardCharsets.UTF_8)).getBytes();
    }

    static String verdict(ConsumerRecord<String, String> record, JsonObject event, JsonObject answer) {
        JsonObject bill = new JsonObject().put("moderation_type", "text_llm_standard").put("units", 1)
                .put("cost", 0.002).put("currency", "CNY").put("plan_units", 2.67);
        return new JsonObject().put("schema", "moderation-verdict/1").put("event_id", event.getString("id"))
                .put("kind", event.getString("kind")).put("route", "all")
                .put("services", new JsonArray().add("ugc_moderation_byllm"))
                .put("risk_level", answer.getJsonObject("Data").getString("RiskLevel")).put("action", "pass")
                .put("labels", new JsonArray()).put("source", "service")
                .put("request_ids", new JsonArray().add(answer.getString("RequestId"))).putNull("task_id")
                .put("attempts", 1).put("billed", new JsonArray().add(bill)).putNull("reason")
                .put("extra", new JsonObject()).put("judged_at", System.currentTimeMillis() / 1000.0)
                .put("latency_ms", 0.0)
                .put("record", new JsonObject().put("topic", record.topic()).put("partition", record.partition())
                        .put("offset", record.offset()).put("timestamp", record.timestamp()))
                .encode();
    }

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0], topic = args[1], out = args[2], group = args[3];
        URI endpoint = URI.create(args[4]);
        int inFlight = Integer.parseInt(args[5]);
        String host = endpoint.getHost() + ":" + endpoint.getPort();
        var consumer = new KafkaConsumer<String, String>(Map.of("bootstrap.servers", bootstrap, "group.id", group,
                "enable.auto.commit", "false", "auto.offset.reset", "earliest"),
                new StringDeserializer(), new StringDeserializer());
        var producer = new KafkaProducer<String, String>(Map.of("bootstrap.servers", bootstrap, "linger.ms", "5",
                "batch.size", "262144"), new StringSerializer(), new StringSerializer());
        Vertx vertx = Vertx.vertx();
        WebClient client = WebClient.create(vertx, new WebClientOptions().setMaxPoolSize(inFlight));
        var options = ParallelConsumerOptions.<String, String>builder().consumer(consumer)
                .ordering(ParallelConsumerOptions.ProcessingOrder.UNORDERED).maxConcurrency(inFlight)
                .commitInterval(Duration.ofMillis(100)).build();
        var processor = new VertxParallelEoSStreamProcessor<String, String>(vertx, client, options);
        processor.subscribe(List.of(topic));
        processor.vertxFuture(context -> {
            ConsumerRecord<String, String> record = context.getSingleConsumerRecord();
            JsonObject event = new JsonObject(record.value());
            byte[] body = form(event);
            HttpRequest<Buffer> request = client.post(endpoint.getPort(), endpoint.getHost(), "/");
            try {
                sign(request, body, host);
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
            return request.sendBuffer(Buffer.buffer(body)).compose(response -> {
                Promise<Void> written = Promise.promise();
                var verdict = new ProducerRecord<>(out, record.key(),
                        verdict(record, event, response.bodyAsJsonObject()));
                producer.send(verdict, (metadata, error) -> {
                    if (error == null) {
                        written.complete();
                    } else {
                        written.fail(error);
                    }
                });
                return written.future();
            });
        });
        Runtime.getRuntime().addShutdownHook(new Thread(processor::closeDontDrainFirst));
        Thread.currentThread().join();
    }
}
