import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describeWithDocker } from '@bloomery/testing'
import { withStaging } from './staging-under-test.fixture.js'
import { IMAGE, serving } from './testing.fixture.js'

const JAVA_SERVER = `import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
public class Main {
  public static void main(String[] arguments) throws Exception {
    HttpServer server = HttpServer.create(new InetSocketAddress(Integer.parseInt(System.getenv("PORT"))), 0);
    server.createContext("/", (exchange) -> {
      byte[] body = ("Java " + Runtime.version().feature() + " " + String.join(",", arguments) + " heap " + (Runtime.getRuntime().maxMemory() >> 20) + "\\n").getBytes();
      exchange.sendResponseHeaders(200, body.length);
      exchange.getResponseBody().write(body);
      exchange.close();
    });
    server.start();
  }
}
`

// Long, and each needs its language's sources: with the longer suites only.
const WHOLE = process.env['BLOOMERY_TEST_FULL'] === '1'
const suite = WHOLE ? await describeWithDocker() : describe.skip
suite('the ways of Java', () => {
  const staging = withStaging(['java_buildpack'])
  const { stage, staged, answer } = staging

  /** Compiles in the stack, whose JDK is there for source builds. */
  const compiled = async (): Promise<string> => {
    const folder = await mkdtemp(join(staging.work, 'java-'))
    await writeFile(join(folder, 'Main.java'), JAVA_SERVER)
    await mkdir(join(folder, 'out'))
    const script = 'javac --release 11 -d out Main.java && cd out && jar -c -f ../main.jar -e Main .'
    execFileSync('docker', ['run', '--rm', '-v', `${folder}:/w`, '-w', '/w', IMAGE, 'sh', '-c', script])
    return folder
  }
  const jarOf = async (built?: string): Promise<string> => {
    const pushed = await mkdtemp(join(staging.work, 'jar-'))
    await writeFile(join(pushed, 'main.jar'), await readFile(join(built ?? (await compiled()), 'main.jar')))
    return pushed
  }

  it('a jar on JRE 21, with arguments; and by a start script with the libraries of a distribution', async () => {
    const folder = await compiled()
    const jar = await answer({
      files: await jarOf(folder),
      environment: {
        JBP_CONFIG_OPEN_JDK_JRE: '{jre: {version: 21.+}, memory_calculator: {stack_threads: 30}}',
        JBP_CONFIG_JAVA_MAIN: '{arguments: one two}',
      },
    })
    expect(jar.text).toMatch(/Thread Count: 30[\s\S]*Java 21 one,two/)
    const dist = await mkdtemp(join(staging.work, 'dist-'))
    await mkdir(join(dist, 'app/bin'), { recursive: true })
    await mkdir(join(dist, 'app/lib'))
    await writeFile(join(dist, 'app/lib/main.jar'), await readFile(join(folder, 'main.jar')))
    const script = '#!/bin/sh\nexec "$JAVA_HOME/bin/java" $JAVA_OPTS -cp "$(dirname "$0")/../lib/*" Main script\n'
    await writeFile(join(dist, 'app/bin/app'), script)
    expect((await answer({ files: dist })).text).toMatch(/Java 17 script/)
  }, 300_000)

  it.each<[string, Record<string, string>, RegExp]>([
    ['11 by BP_JVM_VERSION', { BP_JVM_VERSION: '11' }, /^openjdk version "11\.0\./m],
    ['25 by JBP_CONFIG_OPEN_JDK_JRE', { JBP_CONFIG_OPEN_JDK_JRE: '{jre: {version: 25.+}}' }, /^openjdk version "25\.0\./m],
  ])(
    'a JRE of another line: %s',
    async (_name, environment, expected) => {
      const { sha256 } = (await staged({ files: await jarOf(), environment })).droplet
      // 11's lacks the server that the others show themselves by.
      expect(await staging.bench.inDroplet(sha256, 'java -version 2>&1')).toMatch(expected)
    },
    300_000,
  )

  it('a JRE that is not to be had', async () => {
    const { row, log } = await stage({ files: await jarOf(), environment: { JBP_CONFIG_OPEN_JDK_JRE: '{jre: {version: 9.+}}' } })
    expect(row.failure?.class).toBe('BuildpackCompileFailed')
    expect(log).toMatch(/Unable to install jre: no version of jre matches '9\.\+'\. Available: (\d+\.\d+\.\d+, )*25\./)
  }, 120_000)

  it('memory is divided anew at every start, by the limit and the variables of then', async () => {
    const { sha256, process_types: types } = (await staged({ files: await jarOf() })).droplet
    const start = async (memoryMb: number, environment: Record<string, string> = {}) =>
      staging.bench.inDroplet(sha256, serving(types['web'] ?? '', 'curl -s localhost:$PORT/'), memoryMb, environment)
    const heap = (text: string) => Number(/heap (\d+)/.exec(text)?.[1])
    for (const limit of [256, 512]) {
      const text = await start(limit)
      expect(text).toMatch(
        new RegExp(
          `Cannot calculate JVM memory configuration: allocated memory \\d+[KM] is greater than ${limit}M[\\s\\S]*at least \\d+M`,
        ),
      )
      expect(text).not.toContain('Java 17')
    }
    const [one, two] = [heap(await start(1024)), heap(await start(2048))]
    expect(one).toBeGreaterThan(350)
    expect(two - one).toBeGreaterThan(950)
    const few = { JBP_CONFIG_OPEN_JDK_JRE: '{memory_calculator: {stack_threads: 20, headroom: 10}}' }
    const headroom = await start(512, few)
    expect(headroom).toMatch(/Total Memory: 512M, Thread Count: 20, .*Headroom: 10%/)
    expect(heap(headroom)).toBeGreaterThan(30)
    const own = await start(256, { ...few, JAVA_OPTS: '-Xmx48m -XX:ReservedCodeCacheSize=32m -Xss512k -Dgreeting=hello' })
    expect(own).toMatch(/JVM Memory Configuration: -XX:MaxDirectMemorySize=10M -XX:MaxMetaspaceSize=\d+K \(Total Memory: 256M/)
    expect(heap(own)).toBeLessThanOrEqual(48)
    expect(await start(512, { JAVA_OPTS: '-Xmx500m' })).toMatch(/is greater than 512M available[\s\S]*-Xmx500M/)
  }, 300_000)

  it('Gradle by its wrapper, and what is said where the wrapper cannot get it', async () => {
    // Stands for the wrapper's script, whose distribution may be out of reach; what it is given and what it leaves is the same.
    const wrapper = 'set -e\necho "wrapper $*"\nmkdir -p out build/libs\n"$JAVA_HOME/bin/javac" -d out src/Main.java\n'
    const source = { 'build.gradle': '', 'src/Main.java': JAVA_SERVER }
    const { text, log } = await answer({
      files: {
        ...source,
        gradlew: `#!/bin/sh\n${wrapper}"$JAVA_HOME/bin/jar" -c -f build/libs/a-plain.jar -C out .\n"$JAVA_HOME/bin/jar" -c -f build/libs/a.jar -e Main -C out .\n`,
      },
    })
    expect(log).toMatch(/wrapper --no-daemon --console=plain build -x test[\s\S]*the app is build\/libs\/a\.jar/)
    expect(text).toMatch(/Java 17 /)
    const failing = async (said: string) =>
      (await stage({ files: { ...source, gradlew: `#!/bin/sh\necho '${said}'\nexit 1\n` } })).log
    expect(
      await failing(
        'Downloading https://distributions.invalid/gradle.zip\nException in thread "main" java.net.UnknownHostException',
      ),
    ).toMatch(/could not get Gradle itself[\s\S]*push the result/)
    expect(await failing('BUILD FAILED')).toMatch(/gradlew failed with exit status 1/)
  }, 180_000)

  it('a web app on Tomcat, with JSP, behind a proxy that speaks TLS', async () => {
    const { text, log } = await answer(
      {
        files: {
          'WEB-INF/web.xml': '<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0"/>',
          'index.jsp': '<%= "JSP " + (1 + 1) + " " + request.isSecure() %>',
        },
      },
      'curl -s -H "X-Forwarded-Proto: https" localhost:$PORT/; curl -s -o /dev/null -w " %{http_code}" localhost:$PORT/WEB-INF/web.xml',
    )
    expect(log).toMatch(/Installing Tomcat 10\.1\.\d+ \(the stack's\)/)
    expect(text).toMatch(/JSP 2 true 404/)
  }, 180_000)
})
