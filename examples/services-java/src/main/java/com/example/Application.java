package com.example;

import io.pivotal.cfenv.core.CfCredentials;
import io.pivotal.cfenv.core.CfEnv;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.PutMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RestController;

/** Writes to and reads from every kind of service that it is bound to. */
@SpringBootApplication
@RestController
public class Application {
  private static final Logger LOG = LoggerFactory.getLogger(Application.class);
  private final CfEnv environment = new CfEnv();

  public static void main(String[] arguments) {
    SpringApplication.run(Application.class, arguments);
  }

  @GetMapping("/")
  Map<String, List<String>> bound() {
    return Map.of("bound", Notes.KINDS.keySet().stream().filter(kind -> credentials(kind).isPresent()).toList());
  }

  @PostMapping("/{kind}")
  ResponseEntity<Map<String, String>> add(@PathVariable String kind, @RequestBody String text) {
    return write(kind, UUID.randomUUID().toString(), text);
  }

  @PutMapping("/{kind}/{id}")
  ResponseEntity<Map<String, String>> write(@PathVariable String kind, @PathVariable String id, @RequestBody String text) {
    return answer(
        kind,
        notes -> {
          notes.write(id, text);
          return ResponseEntity.status(201).body(Map.of("id", id));
        });
  }

  @GetMapping("/{kind}/{id}")
  ResponseEntity<Map<String, String>> read(@PathVariable String kind, @PathVariable String id) {
    return answer(
        kind,
        notes -> {
          var text = notes.read(id);
          if (text == null) return ResponseEntity.status(404).body(Map.of("error", "there is no such note"));
          return ResponseEntity.ok(Map.of("id", id, "text", text));
        });
  }

  private interface Work {
    ResponseEntity<Map<String, String>> on(Notes notes) throws Exception;
  }

  // Clients are closed each time, so that what is asked for is what the server says now.
  private ResponseEntity<Map<String, String>> answer(String kind, Work work) {
    var credentials = credentials(kind);
    if (credentials.isEmpty())
      return ResponseEntity.status(404).body(Map.of("error", "no service of the kind '" + kind + "' is bound"));
    try (var notes = Notes.KINDS.get(kind).open(credentials.get())) {
      return work.on(notes);
    } catch (Exception error) { // whatever a driver throws is what its server says
      LOG.error(kind, error);
      return ResponseEntity.status(502).body(Map.of("error", messages(error)));
    }
  }

  // Drivers wrap what the server said.
  private static String messages(Throwable error) {
    var text = String.valueOf(error.getMessage());
    return error.getCause() == null ? text : text + ": " + messages(error.getCause());
  }

  // By tag first, which other brokers' offerings have too, then by the offering's name.
  private Optional<CfCredentials> credentials(String kind) {
    if (!Notes.KINDS.containsKey(kind)) return Optional.empty();
    return environment.findAllServices().stream()
        .filter(service -> service.getTags().contains(kind) || kind.equals(service.getLabel()))
        .map(service -> service.getCredentials())
        .findFirst();
  }
}
