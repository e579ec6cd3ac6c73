import de.bwaldvogel.mongo.MongoBackend;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.wire.MongoDatabaseHandler;
import de.bwaldvogel.mongo.wire.MongoExceptionHandler;
import de.bwaldvogel.mongo.wire.MongoWireMessageEncoder;
import de.bwaldvogel.mongo.wire.MongoWireProtocolHandler;
import de.bwaldvogel.mongo.wire.MongoWireReplyEncoder;
import io.netty.bootstrap.ServerBootstrap;
import io.netty.channel.Channel;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.group.ChannelGroup;
import io.netty.channel.group.DefaultChannelGroup;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioServerDomainSocketChannel;
import io.netty.util.concurrent.GlobalEventExecutor;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.net.UnixDomainSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.zip.ZipInputStream;
import java.util.zip.ZipOutputStream;
import org.h2.mvstore.MVStore;

/**
 * A MongoDB-compatible server for development: mongo-java-server over one H2 file, listening on a unix socket alone. It has no
 * logins: those are the gate's, which started it and is the only one to reach that socket. It ends when its standard input does, so
 * that it never outlives the gate.
 *
 * <p>Arguments: the socket's path, the data file's, and that of a backup: where there is one, it replaces the data first and is
 * deleted ("restored" or "refused REASON" on standard output says so). Then comes "ready". Standard input, a line each: "backup PATH"
 * writes a consistent copy while clients go on, answered "done" or "failed REASON"; "stop" ends it.
 */
public final class DevelopmentServer {
  /** The oldest that today's drivers take. */
  private static final MongoVersion VERSION =
      new MongoVersion() {
        @Override
        public List<Integer> getVersionArray() {
          return List.of(4, 4, 0);
        }

        @Override
        public int getWireVersion() {
          return 9;
        }
      };

  private DevelopmentServer() {}

  public static void main(String[] args) throws Exception {
    Path socket = Path.of(args[0]);
    restore(Path.of(args[2]), Path.of(args[1]));
    MVStore store = new MVStore.Builder().fileName(args[1]).cacheSize(8).compress().open();
    MongoBackend backend = new H2Backend(store).version(VERSION);
    Files.deleteIfExists(socket);
    var group = new MultiThreadIoEventLoopGroup(4, NioIoHandler.newFactory());
    Channel listener = listen(socket, backend, group);
    System.out.println("ready");
    try (var commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
      for (String line = commands.readLine(); line != null && !line.equals("stop"); line = commands.readLine()) {
        if (line.startsWith("backup ")) System.out.println(backup(store, Path.of(line.substring(7))));
      }
    } finally {
      listener.close().syncUninterruptibly();
      group.shutdownGracefully(0, 2, TimeUnit.SECONDS).syncUninterruptibly();
      backend.close();
      Files.deleteIfExists(socket);
    }
    System.exit(0);
  }

  private static Channel listen(Path socket, MongoBackend backend, MultiThreadIoEventLoopGroup group) {
    ChannelGroup clients = new DefaultChannelGroup(GlobalEventExecutor.INSTANCE);
    return new ServerBootstrap()
        .group(group)
        .channel(NioServerDomainSocketChannel.class)
        .childHandler(
            new ChannelInitializer<Channel>() {
              @Override
              protected void initChannel(Channel channel) {
                channel
                    .pipeline()
                    .addLast(
                        new MongoWireReplyEncoder(),
                        new MongoWireMessageEncoder(),
                        new MongoWireProtocolHandler(),
                        new MongoDatabaseHandler(backend, clients),
                        new MongoExceptionHandler());
              }
            })
        .bind(UnixDomainSocketAddress.of(socket))
        .syncUninterruptibly()
        .channel();
  }

  /** May be interrupted anywhere: the backup is deleted last. */
  private static void restore(Path backup, Path data) throws IOException {
    if (!Files.exists(backup)) return;
    Path unpacked = data.resolveSibling(data.getFileName() + ".new");
    try {
      try (ZipInputStream zip = new ZipInputStream(Files.newInputStream(backup))) {
        if (zip.getNextEntry() == null) throw new IOException("it is not a backup of this server");
        Files.copy(zip, unpacked, StandardCopyOption.REPLACE_EXISTING);
      }
      new MVStore.Builder().fileName(unpacked.toString()).readOnly().open().close();
    } catch (IOException | RuntimeException error) {
      Files.deleteIfExists(unpacked);
      Files.delete(backup);
      System.out.println("refused " + reason(error));
      return;
    }
    Files.move(unpacked, data, StandardCopyOption.REPLACE_EXISTING, StandardCopyOption.ATOMIC_MOVE);
    Files.delete(backup);
    System.out.println("restored");
  }

  private static String reason(Exception error) {
    return String.valueOf(error.getMessage()).replace('\n', ' ');
  }

  private static String backup(MVStore store, Path target) {
    Path unfinished = target.resolveSibling(target.getFileName() + ".new");
    try {
      store.commit();
      try (OutputStream file = Files.newOutputStream(unfinished);
          ZipOutputStream zip = new ZipOutputStream(file)) {
        store.getFileStore().backup(zip);
      }
      Files.move(unfinished, target, StandardCopyOption.REPLACE_EXISTING, StandardCopyOption.ATOMIC_MOVE);
      return "done";
    } catch (IOException | RuntimeException error) {
      return "failed " + reason(error);
    }
  }
}
