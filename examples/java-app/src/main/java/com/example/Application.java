package com.example;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.core.env.Environment;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** A small Spring Boot app, pushed as source. */
@SpringBootApplication
@RestController
public class Application {
  private final Environment environment;

  Application(Environment environment) {
    this.environment = environment;
  }

  public static void main(String[] arguments) {
    SpringApplication.run(Application.class, arguments);
  }

  @GetMapping("/")
  String hello() {
    return "Hello from java-app, instance %s, Java %s, profiles %s%n"
        .formatted(
            environment.getProperty("CF_INSTANCE_INDEX", "0"),
            Runtime.version(),
            String.join(",", environment.getActiveProfiles()));
  }
}
