package com.example;

import com.mongodb.ConnectionString;
import com.mongodb.MongoClientSettings;
import com.mongodb.client.MongoClient;
import com.mongodb.client.MongoClients;
import com.mongodb.client.MongoCollection;
import com.mongodb.client.model.Filters;
import com.mongodb.client.model.ReplaceOptions;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.MessageProperties;
import io.pivotal.cfenv.core.CfCredentials;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.bson.Document;
import redis.clients.jedis.Jedis;

/** Texts by id, kept by one kind of service. */
interface Notes extends AutoCloseable {
  void write(String id, String text) throws Exception;

  /** Null if there is none. */
  String read(String id) throws Exception;

  interface Opening {
    Notes open(CfCredentials credentials) throws Exception;
  }

  /** How each kind of service is reached with the credentials that a binding brings. */
  Map<String, Opening> KINDS =
      new TreeMap<>(
          Map.of(
              "mysql", given -> new Sql(given, "VARCHAR(64)", "REPLACE INTO notes VALUES (?, ?)"),
              "postgresql",
                  given ->
                      new Sql(
                          given,
                          "text",
                          "INSERT INTO notes VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET text = excluded.text"),
              "redis", Redis::new,
              "mongodb", Mongo::new,
              "rabbitmq", Rabbit::new));

  /** MySQL and PostgreSQL differ in what an id is, and in how a row is replaced. */
  final class Sql implements Notes {
    private final java.sql.Connection connection;
    private final String replace;

    Sql(CfCredentials given, String id, String replace) throws SQLException {
      this.replace = replace;
      connection = DriverManager.getConnection(given.getString("jdbcUrl"));
      try (var statement = connection.createStatement()) {
        statement.execute("CREATE TABLE IF NOT EXISTS notes (id %s PRIMARY KEY, text text)".formatted(id));
      }
    }

    @Override
    public void write(String id, String text) throws SQLException {
      try (var statement = connection.prepareStatement(replace)) {
        statement.setString(1, id);
        statement.setString(2, text);
        statement.executeUpdate();
      }
    }

    @Override
    public String read(String id) throws SQLException {
      try (var statement = connection.prepareStatement("SELECT text FROM notes WHERE id = ?")) {
        statement.setString(1, id);
        var rows = statement.executeQuery();
        return rows.next() ? rows.getString(1) : null;
      }
    }

    @Override
    public void close() throws SQLException {
      connection.close();
    }
  }

  final class Redis implements Notes {
    private final Jedis client;

    Redis(CfCredentials given) {
      client = new Jedis(URI.create(given.getUri("redis")), 5_000);
    }

    @Override
    public void write(String id, String text) {
      client.set("note:" + id, text);
    }

    @Override
    public String read(String id) {
      return client.get("note:" + id);
    }

    @Override
    public void close() {
      client.close();
    }
  }

  final class Mongo implements Notes {
    private final MongoClient client;
    private final MongoCollection<Document> notes;

    Mongo(CfCredentials given) {
      var address = new ConnectionString(given.getUri("mongodb"));
      client =
          MongoClients.create(
              MongoClientSettings.builder()
                  .applyConnectionString(address)
                  .applyToClusterSettings(cluster -> cluster.serverSelectionTimeout(5, TimeUnit.SECONDS))
                  .build());
      notes = client.getDatabase(address.getDatabase()).getCollection("notes");
    }

    @Override
    public void write(String id, String text) {
      notes.replaceOne(Filters.eq("_id", id), new Document("text", text), new ReplaceOptions().upsert(true));
    }

    @Override
    public String read(String id) {
      var note = notes.find(Filters.eq("_id", id)).first();
      return note == null ? null : note.getString("text");
    }

    @Override
    public void close() {
      client.close();
    }
  }

  /** A queue is read from once: what was written under an id comes back for it. */
  final class Rabbit implements Notes {
    private final Connection connection;
    private final Channel channel;

    Rabbit(CfCredentials given) throws Exception {
      var factory = new ConnectionFactory();
      factory.setUri(given.getUri("amqp"));
      factory.setConnectionTimeout(5_000);
      factory.setAutomaticRecoveryEnabled(false);
      connection = factory.newConnection();
      channel = connection.createChannel();
      // Publishing is heard of only on such a channel.
      channel.confirmSelect();
    }

    private String queue(String id) throws Exception {
      return channel.queueDeclare("note-" + id, true, false, false, null).getQueue();
    }

    @Override
    public void write(String id, String text) throws Exception {
      var bytes = text.getBytes(StandardCharsets.UTF_8);
      channel.basicPublish("", queue(id), MessageProperties.PERSISTENT_TEXT_PLAIN, bytes);
      channel.waitForConfirmsOrDie(5_000);
    }

    @Override
    public String read(String id) throws Exception {
      var message = channel.basicGet(queue(id), true);
      return message == null ? null : new String(message.getBody(), StandardCharsets.UTF_8);
    }

    @Override
    public void close() throws Exception {
      connection.close();
    }
  }
}
