import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { basename, delimiter, join } from 'node:path'
import { promisify } from 'node:util'

/** The development server's software cannot be had; the message says what is missing. */
export class ServerSoftwareError extends Error {
  override readonly name = 'ServerSoftwareError'
}

const PROGRAMS = ['java', 'javac', 'mvn'] as const
/** How an operator gets them. */
export const SERVER_SOFTWARE_REMEDY = 'apt-get install -y --no-install-recommends default-jdk-headless maven'
const OLDEST_JAVA = 17
const FETCH_TIMEOUT_MS = 300_000

export interface ServerSoftwareOptions {
  /** The folder with pom.xml and DevelopmentServer.java. */
  readonly sources: string
  /** Where what was built is kept, for all servers and all starts. */
  readonly target: string
  /** Finds a program of this machine. */
  readonly find: (name: string) => string | undefined
}

/** What is missing to run it, in words; undefined where the software is built already or can be built. */
export async function missingForServer(options: ServerSoftwareOptions): Promise<string | undefined> {
  if (options.find('java') === undefined) return 'there is no java'
  const needed = existsSync(builtFolder(options)) ? PROGRAMS.slice(0, 1) : PROGRAMS
  const missing = needed.filter((name) => options.find(name) === undefined)
  if (missing.length > 0) return `there is no ${missing.join(', no ')}`
  // On standard error, and with a line of JAVA_TOOL_OPTIONS before it at times.
  const { stderr } = await promisify(execFile)(options.find('java') ?? 'java', ['-version'], { timeout: 20_000 })
  const version = Number(/version "(\d+)/.exec(stderr)?.[1])
  return version >= OLDEST_JAVA ? undefined : `Java ${OLDEST_JAVA} or newer is needed, and 'java' is ${version || 'unknown'}`
}

/**
 * Fetches the server's parts by Maven, which knows the machine's repositories and mirrors, and compiles the rest; once, later calls find
 * it. Answers the folder with everything in it.
 */
export async function buildServer(options: ServerSoftwareOptions): Promise<string> {
  const built = builtFolder(options)
  if (existsSync(built)) return built
  const missing = await missingForServer(options)
  if (missing !== undefined) throw new ServerSoftwareError(missing)
  mkdirSync(options.target, { recursive: true, mode: 0o755 })
  const scratch = mkdtempSync(join(options.target, 'building-'))
  try {
    copyFileSync(join(options.sources, 'pom.xml'), join(scratch, 'pom.xml'))
    const parts = join(scratch, 'server')
    await run(
      'mvn',
      ['-q', '-B', 'dependency:copy-dependencies', '-DincludeScope=runtime', `-DoutputDirectory=${parts}`],
      scratch,
    )
    const source = join(options.sources, 'DevelopmentServer.java')
    await run(options.find('javac') ?? 'javac', ['-nowarn', '-d', parts, '-cp', join(parts, '*'), source], scratch)
    try {
      renameSync(parts, built)
    } catch (error) {
      // Somebody else was faster.
      if (!existsSync(built)) throw error
    }
    return built
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

/** Copies what {@link buildServer} made into a server's own folder, where the server's user reaches it. Answers how it is started. */
export function serverCommand(options: {
  readonly built: string
  readonly folder: string
  readonly java: string
  /** Of the JVM's heap; about 60 MB more are taken beside it. */
  readonly heapMb: number
}): readonly [string, ...string[]] {
  const own = join(options.folder, 'server')
  mkdirSync(own, { recursive: true, mode: 0o755 })
  for (const name of readdirSync(options.built)) copyFileSync(join(options.built, name), join(own, name))
  const limits = ['-Xss512k', '-XX:MaxMetaspaceSize=64m', '-XX:MaxDirectMemorySize=64m', '-XX:ReservedCodeCacheSize=32m']
  return [
    options.java,
    `-Xmx${options.heapMb}m`,
    ...limits,
    // Small and soon awake, rather than fast after an hour.
    ...['-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-XX:MinHeapFreeRatio=10', '-XX:MaxHeapFreeRatio=30'],
    // The gate starts it again; going on without memory would only look alive.
    '-XX:+ExitOnOutOfMemoryError',
    '-Dslf4j.internal.verbosity=ERROR',
    '-cp',
    `${own}${delimiter}${join(own, '*')}`,
    'DevelopmentServer',
  ]
}

/** Named by what goes into it, so that a newer platform builds a newer one. */
function builtFolder({ sources, target }: ServerSoftwareOptions): string {
  const digest = createHash('sha256')
  for (const name of ['pom.xml', 'DevelopmentServer.java']) digest.update(readFileSync(join(sources, name)))
  return join(target, `server-${digest.digest('hex').slice(0, 16)}`)
}

async function run(program: string, args: readonly string[], cwd: string): Promise<void> {
  try {
    await promisify(execFile)(program, [...args], { cwd, timeout: FETCH_TIMEOUT_MS, maxBuffer: 4 * 1024 * 1024 })
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
    const lines = `${stdout}\n${stderr}`.split('\n').filter((line) => /ERROR|error/.test(line))
    throw new ServerSoftwareError(
      `${basename(program)} failed: ${lines[0]?.trim() ?? (error instanceof Error ? error.message : String(error))}`,
      {
        cause: error,
      },
    )
  }
}
