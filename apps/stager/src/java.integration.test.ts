import { execFileSync } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describeWithDocker } from '@bloomery/testing'
import { withStaging } from './staging-under-test.fixture.js'
import { examplePath, IMAGE, serving } from './testing.fixture.js'

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

  const inStack = (folder: string, script: string) =>
    execFileSync('docker', ['run', '--rm', '-v', `${folder}:/w`, '-w', '/w', IMAGE, 'sh', '-c', script])
  /** Compiles in the stack, whose JDK is there for source builds. */
  const compiled = async (): Promise<string> => {
    const folder = await mkdtemp(join(staging.work, 'java-'))
    await writeFile(join(folder, 'Main.java'), JAVA_SERVER)
    await mkdir(join(folder, 'out'))
    inStack(folder, 'javac --release 11 -d out Main.java && cd out && jar -c -f ../main.jar -e Main .')
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

  it('a war by a Tomcat of another line, below a path; a main class among classes, named by a variable', async () => {
    const pushed = await mkdtemp(join(staging.work, 'war-'))
    await mkdir(join(pushed, 'web/WEB-INF'), { recursive: true })
    await writeFile(join(pushed, 'web/WEB-INF/web.xml'), '<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0"/>')
    await writeFile(join(pushed, 'web/index.jsp'), '<%= application.getServerInfo() + " " + request.getContextPath() %>')
    inStack(pushed, 'jar -c -f shop.war -C web . && rm -r web')
    const war = await answer(
      { files: pushed, environment: { JBP_CONFIG_TOMCAT: '{tomcat: {version: 11.+, context_path: /shop}}' } },
      'curl -s localhost:$PORT/shop/; curl -s -o /dev/null -w " %{http_code}" localhost:$PORT/',
    )
    expect(war.log).toMatch(/Installing Tomcat 11\.\d+\.\d+$/m)
    expect(war.text).toMatch(/Apache Tomcat\/11\.\d+\.\d+ \/shop 404/)
    const classes = { files: join(await compiled(), 'out'), environment: { JBP_CONFIG_JAVA_MAIN: '{java_main_class: Main}' } }
    expect((await answer(classes)).text).toMatch(/Java 17 /)
  }, 300_000)

  it('of several Maven modules the named one is built, with what it needs, and started with its libraries', async () => {
    const plugin = (name: string, more: string) =>
      `<plugin><groupId>org.apache.maven.plugins</groupId><artifactId>maven-${name}-plugin</artifactId>${more}</plugin>`
    const module = (name: string, more: string) =>
      `<project><modelVersion>4.0.0</modelVersion><parent><groupId>x</groupId><artifactId>all</artifactId><version>1</version></parent><artifactId>${name}</artifactId>${more}</project>`
    const { text, log } = await answer({
      files: {
        'pom.xml': `<project><modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>all</artifactId><version>1</version><packaging>pom</packaging><modules><module>words</module><module>web</module><module>broken</module></modules><properties><maven.compiler.source>17</maven.compiler.source><maven.compiler.target>17</maven.compiler.target><maven.compiler.release>17</maven.compiler.release><project.build.sourceEncoding>UTF-8</project.build.sourceEncoding></properties></project>`,
        'words/pom.xml': module('words', ''),
        'words/src/main/java/words/Word.java':
          'package words;\npublic class Word { public static String is() { return "of words"; } }\n',
        'broken/pom.xml': module('broken', ''),
        'broken/src/main/java/Broken.java': 'no Java',
        'web/pom.xml': module(
          'web',
          `<dependencies><dependency><groupId>x</groupId><artifactId>words</artifactId><version>1</version></dependency></dependencies><build><plugins>${plugin(
            'dependency',
            '<executions><execution><phase>package</phase><goals><goal>copy-dependencies</goal></goals><configuration><outputDirectory>target/lib</outputDirectory></configuration></execution></executions>',
          )}${plugin(
            'jar',
            '<configuration><archive><manifest><addClasspath>true</addClasspath><classpathPrefix>lib/</classpathPrefix><mainClass>Main</mainClass></manifest></archive></configuration>',
          )}</plugins></build>`,
        ),
        'web/src/main/java/Main.java': JAVA_SERVER.replace('" heap "', '" " + words.Word.is() + " heap "'),
      },
      environment: { BP_MAVEN_BUILT_MODULE: 'web' },
    })
    expect(log).toMatch(/Running mvn -DskipTests package[\s\S]*the app is web\/target\/web-1\.jar/)
    expect(text).toMatch(/Java 17 +of words/)
  }, 300_000)

  it('what Maven built, pushed unpacked and as a jar: java-cfenv where it lacks it, profile cloud, the driver of what is bound', async () => {
    const built = await staged({
      files: examplePath('java-app'),
      environment: { JBP_CONFIG_JAVA_CF_ENV: '{enabled: false}' },
    })
    expect(built.log).not.toContain('java-cfenv')
    const unpacked = join(await mkdtemp(join(staging.work, 'boot-')), 'app')
    await cp(join(staging.bench.droplets, built.droplet.sha256, 'app'), unpacked, { recursive: true })
    const bound = {
      name: 'orders',
      label: 'postgresql',
      tags: ['postgresql'],
      credentials: { uri: 'postgresql://bob:secret@127.0.0.1:5432/orders' },
    }
    const services = JSON.stringify({ postgresql: [bound] })
    const pushed = await answer(
      { files: unpacked, environment: { VCAP_SERVICES: services } },
      'curl -s localhost:$PORT/; ls BOOT-INF/lib | grep -E "^(postgresql|java-cfenv)"',
      `export VCAP_SERVICES='${services}' LOGGING_LEVEL_IO_PIVOTAL_CFENV=DEBUG SPRING_PROFILES_INCLUDE=blue; . ../profile.d/*java_spring.sh; `,
    )
    expect(pushed.log).toMatch(/Spring Boot 3\.\d+\.\d+, started by [\s\S]*Adding java-cfenv 3\.[\s\S]*Adding postgresql 42\./)
    expect(pushed.text).toMatch(/^Hello from java-app, instance 0, Java 17\S*, profiles (cloud,blue|blue,cloud)$/m)
    expect(pushed.text).toMatch(/^java-cfenv-3[\s\S]*^java-cfenv-boot-3[\s\S]*^postgresql-42/m)
    expect(pushed.text).toMatch(/spring\.datasource properties from bound service/)
    expect(pushed.text).not.toContain('secret')
    const jar = await mkdtemp(join(staging.work, 'boot-jar-'))
    await cp(unpacked, join(jar, 'app'), { recursive: true })
    inStack(jar, 'jar -c -0 -f shop.jar -m app/META-INF/MANIFEST.MF -C app BOOT-INF -C app org && rm -r app')
    expect(await readdir(jar)).toEqual(['shop.jar'])
    const environment = { BP_JVM_VERSION: '21', JBP_CONFIG_JAVA_MAIN: '{arguments: --spring.profiles.active=red}' }
    const { text, log } = await answer({ files: jar, environment })
    expect(log).toContain('Adding java-cfenv 3.')
    expect(text).toMatch(/^Hello from java-app, instance 0, Java 21\S*, profiles (cloud,red|red,cloud)$/m)
    await rm(jar, { recursive: true })
  }, 600_000)
})
