import { execFile } from 'node:child_process'
import { randomBytes, randomInt, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { chmod, lstat, mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Blobstore, openBlobstore } from '@bloomery/blobstore'
import { type ContainerEngine, DockerEngine, type DockerEngineOptions, ProcessEngine } from '@bloomery/containers'
import type { Envelope, Nudge } from '@bloomery/contracts'
import { execute, type Pool, rows, sql } from '@bloomery/database/sql'
import type { LogSender } from '@bloomery/feeds'
import { Keyring } from '@bloomery/secrets'
import { silentLogger } from '@bloomery/telemetry'
import { bundlePrograms, dockerAnswers } from '@bloomery/testing'
import yazl from 'yazl'
import { BuildpackStore } from './buildpacks/buildpack-store.js'
import { Builds } from './builds/builds.js'
import { MachineCapacity } from './capacity.js'
import { readClientSettings } from './client-settings.js'
import { RuntimeSources } from './runtimes/runtime-sources.js'
import { RuntimeStore } from './runtimes/runtime-store.js'
import { holderName, Stager } from './stager.js'
import { AppCaches } from './staging/app-cache.js'
import { SpaceLayers } from './staging/space-layers.js'
import { folderBytes } from './staging/workspace.js'

const run = promisify(execFile)
export const IMAGE = process.env['BLOOMERY_STACK_IMAGE'] ?? 'bloomery/stack:bookworm'
const repository = fileURLToPath(new URL('../../..', import.meta.url))
export const examplePath = (name: string): string => join(repository, 'examples', name)
/** Runtimes are large; all test files share what one has downloaded. */
const RUNTIMES = join(tmpdir(), 'bloomery-test-runtimes')

const RUNTIME = {
  HOME: '/home/vcap/app',
  DEPS_DIR: '/home/vcap/deps',
  TMPDIR: '/home/vcap/tmp',
  LANG: 'en_US.UTF-8',
  PATH: '/usr/local/bin:/usr/bin:/bin',
  VCAP_APPLICATION: '{}',
}

/** Starts a command, waits until its port answers `probe`, runs `then`, and ends it. */
export const serving = (command: string, then: string, probe = 'curl -s -o /dev/null localhost:$PORT'): string =>
  `(${command}) >/home/vcap/logs/out 2>&1 & for i in $(seq 600); do ${probe} && break; sleep 0.1; done; ${then}; kill %1`

/** Keeps what is sent, for tests to read. */
export class KeptLogs implements LogSender {
  readonly lines: { source: string; stream: string; text: string; at: number }[] = []
  send(envelope: Envelope): void {
    if (envelope.kind === 'log')
      this.lines.push({ source: envelope.sourceType, stream: envelope.stream, text: envelope.text, at: Date.now() })
  }
  flush(): Promise<boolean> {
    return Promise.resolve(true)
  }
  close(): Promise<void> {
    return Promise.resolve()
  }
  get text(): string {
    return this.lines.map(({ text }) => text).join('\n')
  }
}

export type Files = Readonly<Record<string, string | { readonly body: string; readonly mode?: number }>>

/** A folder of the disk, or files given by name, as a package. */
export async function zipOf(source: string | Files): Promise<NodeJS.ReadableStream> {
  const zip = new yazl.ZipFile()
  if (typeof source === 'string') await addFolder(zip, source, '')
  else
    for (const [name, file] of Object.entries(source)) {
      const { body, mode } = typeof file === 'string' ? { body: file, mode: undefined } : file
      if (name.endsWith('/')) zip.addEmptyDirectory(name, { mode: mode ?? 0o040755 })
      else zip.addBuffer(Buffer.from(body), name, { mode: 0o100000 | (mode ?? 0o644), mtime: new Date(1_700_000_000_000) })
    }
  zip.end()
  return zip.outputStream
}

async function addFolder(zip: yazl.ZipFile, folder: string, below: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const path = join(folder, name)
    const found = await lstat(path)
    if (found.isDirectory()) await addFolder(zip, path, `${below}${name}/`)
    else if (found.isSymbolicLink()) zip.addBuffer(Buffer.from(await readlink(path)), below + name, { mode: 0o120777 })
    else zip.addFile(path, below + name)
  }
}

export interface Bench {
  readonly home: string
  readonly blobstore: Blobstore
  readonly engine: ContainerEngine
  readonly logs: KeptLogs
  readonly nudges: Nudge[]
  readonly keyring: Keyring
  readonly pool: Pool
  readonly droplets: string
  makeStager(options?: { timeoutMs?: number; nodeId?: string; concurrency?: number }): Stager
  addBuild(options: {
    files: string | Files
    app?: string
    buildpacks?: string[]
    environment?: Record<string, string>
    memoryMb?: number
    diskMb?: number
  }): Promise<{ build: string; app: string }>
  addBuildpack(name: string, files: Files, options?: { position?: number; enabled?: boolean }): Promise<void>
  /** As a zip that is there already. */
  addBuildpackFile(name: string, zip: string): Promise<void>
  build(guid: string): Promise<BuildRow | undefined>
  droplet(guid: string | null): Promise<DropletRow>
  packageKey(build: string): Promise<string>
  /** The folders that a cell lays over one another, the topmost first. */
  foldersOf(sha256: string): Promise<string[]>
  /** What a folder of the home takes on disk. */
  usedBytes(folder: string): Promise<number>
  /** As if the apps' last droplets lay on another machine. */
  forgetLayers(): Promise<void>
  /** Runs a shell script in a container of the droplet, with the environment that a cell gives, and answers what it printed. */
  inDroplet(sha256: string, script: string, memoryMb?: number, environment?: Readonly<Record<string, string>>): Promise<string>
  close(): Promise<void>
}
export interface BuildRow {
  readonly state: string
  readonly error: string | null
  readonly failure: { class: string; cause: string; nextStep: string; lastLines: string[] } | null
  readonly droplet_guid: string | null
  readonly attempts: number
}
export interface DropletRow {
  readonly sha256: string
  readonly blob_key: string
  readonly process_types: Record<string, string>
  readonly buildpacks: { name: string; detect_output: string | null; version: string | null; buildpack_name: string | null }[]
}

/** A stager's surroundings on real parts: a database, an engine, a blob store on disk. `systemBuildpacks`: rows as the api seeds them. */
export async function makeBench(
  pool: Pool,
  options: {
    systemBuildpacks?: readonly string[]
    engine?: ContainerEngine['kind']
    platform?: DockerEngineOptions['platform']
    /** Containers reach nothing, and no runtime is on the machine yet. */
    airGapped?: boolean
  } = {},
): Promise<Bench> {
  const { airGapped = false } = options
  const home = await mkdtemp(join(tmpdir(), 'bloomery-stager-'))
  const key = randomBytes(32)
  const keyring = new Keyring('k1', new Map([['k1', key]]))
  const blobstore = await openBlobstore(`file:${home}/blobs`, { blobsUrl: 'https://127.0.0.1:1', signingKey: () => key })
  // Its processes run as another user, who must find the way to what is mounted.
  await chmod(home, 0o755)
  const installationId = `test-${randomUUID()}`
  if (airGapped) await makeInternalNetwork(installationId)
  const engine = await makeEngine(options.engine ?? 'docker', installationId, home, options.platform)
  await engine.prepare()
  const logs = new KeptLogs()
  const nudges: Nudge[] = []
  const space = await seed(pool, options.systemBuildpacks ?? [])
  const droplets = join(home, 'droplets')
  const stagers: Stager[] = []
  const sources = new RuntimeSources({
    folder: join(RUNTIMES, '..', 'bloomery-test-versions'),
    architecture: process.arch,
    proxies: { http: undefined, https: undefined, no: undefined },
    go: {},
    home: homedir(),
  })
  const foldersOf = async (sha256: string): Promise<string[]> => {
    const layers = JSON.parse(await readFile(join(droplets, `${sha256}.layers`), 'utf8')) as string[]
    return [sha256, ...layers].map((name) => join(droplets, name))
  }
  const addBuildpackOf = async (
    name: string,
    zip: Readable,
    { position = 1, enabled = true }: { position?: number; enabled?: boolean } = {},
  ): Promise<void> => {
    const { sha256 } = await blobstore.put('buildpacks/incoming', zip)
    await blobstore.copy('buildpacks/incoming', `buildpacks/${sha256}`)
    await execute(
      pool,
      sql`INSERT INTO buildpacks (guid, name, position, enabled, state, filename, sha256, blob_key)
          VALUES (${randomUUID()}, ${name}, ${position}, ${enabled}, 'READY', ${`${name}.zip`}, ${sha256}, ${`buildpacks/${sha256}`})`,
    )
  }
  return {
    home,
    blobstore,
    engine,
    logs,
    nudges,
    keyring,
    pool,
    droplets,
    makeStager: ({ timeoutMs = 300_000, nodeId = 'test', concurrency = 2 } = {}) => {
      const stager = new Stager({
        builds: new Builds(pool, holderName(nodeId)),
        engine,
        blobstore,
        keyring,
        buildpacks: new BuildpackStore(join(home, 'buildpacks'), join(repository, 'buildpacks'), blobstore),
        runtimes: new RuntimeStore(airGapped ? join(home, 'runtimes') : RUNTIMES, sources, process.arch, silentLogger),
        caches: new AppCaches(join(home, 'caches'), blobstore),
        spaceLayers: new SpaceLayers(join(home, 'space-layers')),
        clientSettings: () => readClientSettings({}, silentLogger, { home: homedir(), go: {} }),
        nodeId,
        image: IMAGE,
        lifecycleFolder: join(repository, 'apps/stager/lifecycle'),
        workFolder: join(home, `builds-${nodeId}`),
        cellDroplets: () => droplets,
        stagingTimeoutMs: timeoutMs,
        logger: silentLogger,
        sender: logs,
        nudge: (nudge) => nudges.push(nudge),
        capacity: new MachineCapacity(engine, concurrency, 0),
      })
      stagers.push(stager)
      stager.start()
      return stager
    },
    addBuild: async ({ files, app: given, buildpacks = [], environment = {}, memoryMb = 1024, diskMb = 2048 }) => {
      const app = given ?? randomUUID()
      const packageGuid = randomUUID()
      const build = randomUUID()
      if (given === undefined)
        await execute(pool, sql`INSERT INTO apps (guid, name, space_guid) VALUES (${app}, ${`app-${app.slice(0, 8)}`}, ${space})`)
      const { Readable } = await import('node:stream')
      const stored = await blobstore.put(`packages/${packageGuid}`, Readable.from(await zipOf(files)))
      await execute(
        pool,
        sql`INSERT INTO packages (guid, app_guid, state, blob_key, sha256, size_bytes)
            VALUES (${packageGuid}, ${app}, 'READY', ${stored.key}, ${stored.sha256}, ${stored.sizeBytes})`,
      )
      const frozen = JSON.stringify(keyring.encryptJson({ VCAP_APPLICATION: '{}', ...environment }, `build:${build}`))
      await execute(
        pool,
        sql`INSERT INTO builds (guid, app_guid, package_guid, buildpacks, stack, staging_memory_mb, staging_disk_mb, environment_encrypted)
            VALUES (${build}, ${app}, ${packageGuid}, ${buildpacks}, 'cflinuxfs4', ${memoryMb}, ${diskMb}, ${frozen}::jsonb)`,
      )
      return { build, app }
    },
    addBuildpack: async (name, files, options) => {
      const { Readable } = await import('node:stream')
      await addBuildpackOf(name, Readable.from(await zipOf(files)), options)
    },
    addBuildpackFile: (name, zip) => addBuildpackOf(name, createReadStream(zip)),
    build: async (guid) =>
      (await rows<BuildRow>(pool, sql`SELECT state, error, failure, droplet_guid, attempts FROM builds WHERE guid = ${guid}`))[0],
    droplet: async (guid) => {
      const [found] = await rows<DropletRow>(
        pool,
        sql`SELECT sha256, blob_key, process_types, buildpacks FROM droplets WHERE guid = ${guid}`,
      )
      if (!found) throw new Error('there is no such droplet')
      return found
    },
    packageKey: async (build) => {
      const [found] = await rows<{ key: string }>(
        pool,
        sql`SELECT p.blob_key AS key FROM builds b JOIN packages p ON p.guid = b.package_guid WHERE b.guid = ${build}`,
      )
      return found?.key ?? ''
    },
    foldersOf,
    usedBytes: (folder) => folderBytes(join(home, folder)),
    forgetLayers: async () => {
      await rm(join(home, 'space-layers'), { recursive: true, force: true })
      for (const name of await readdir(join(home, 'caches'), { recursive: true }))
        if (name.endsWith('.layers.json')) await rm(join(home, 'caches', name))
    },
    inDroplet: async (sha256, script, memoryMb = 1024, environment = {}) => {
      const name = `look-${randomUUID()}`
      const reserved = await engine.reserveEndpoint([8080], [])
      await engine.create({
        name,
        purpose: 'instance',
        labels: {},
        image: IMAGE,
        command: ['bash', '-c', `cd "$HOME"; for f in ../profile.d/*; do . "$f"; done; ${script}`],
        environment: { ...RUNTIME, ...environment, MEMORY_LIMIT: `${memoryMb}m`, PORT: String(reserved.ports[0]?.internal) },
        workingDirectory: '/home/vcap',
        mounts: [],
        layers: [{ lower: await foldersOf(sha256), target: '/home/vcap' }],
        memoryMb,
        diskMb: 256,
        cpuWeight: 50,
        pidsLimit: 1024,
        fileDescriptors: 4096,
        endpoint: reserved,
        logRateLimit: -1,
      })
      try {
        await engine.start(name)
        let text = ''
        for await (const line of engine.output(name, { signal: AbortSignal.timeout(120_000) })) text += `${line.text}\n`
        return text
      } finally {
        await engine.remove(name)
      }
    },
    close: async () => {
      await Promise.all(stagers.map((stager) => stager.close()))
      await sources.close()
      await engine.cleanUp({ everything: true, graceSeconds: 0 })
      await engine.close()
      await rm(home, { recursive: true, force: true })
    },
  }
}

/** Each engine, and whether this machine has what it takes to confine apps by it. */
export async function workingEngines(): Promise<readonly (readonly ['docker' | 'process', boolean])[]> {
  const folder = await mkdtemp(join(tmpdir(), 'bloomery-try-'))
  const engine = new ProcessEngine({
    installationId: 'try',
    folder,
    supervisorEntry: '',
    allowUnconfined: false,
    logger: silentLogger,
  })
  await engine.prepare()
  await rm(folder, { recursive: true, force: true })
  return [
    ['docker', await dockerAnswers()],
    ['process', engine.confinement().processes === 'sandbox'],
  ]
}

/** What the engine takes for the network that it would have made itself. */
async function makeInternalNetwork(installationId: string): Promise<void> {
  const short = installationId.replaceAll('-', '').slice(0, 8)
  const bridge = ['-o', `com.docker.network.bridge.name=blm-${short}`]
  const label = ['--label', `bloomery.installation=${installationId}`]
  for (let attempt = 1; ; attempt++) {
    // Beside the range that installations take theirs from; one that is taken is refused.
    const subnet = `10.${randomInt(192, 255)}.${randomInt(16) * 16}.0/20`
    try {
      await run('docker', ['network', 'create', '--internal', '--subnet', subnet, ...bridge, ...label, `bloomery-${short}`])
      return
    } catch (error) {
      if (attempt === 8) throw error
    }
  }
}

async function makeEngine(
  kind: ContainerEngine['kind'],
  installationId: string,
  home: string,
  platform: DockerEngineOptions['platform'],
): Promise<ContainerEngine> {
  const common = {
    installationId,
    folder: join(home, 'containers'),
    disk: 'measured',
    logger: silentLogger,
    ...(platform && { platform }),
  } as const
  if (kind === 'docker') return new DockerEngine({ ...common, image: IMAGE })
  const supervisorEntry = join(home, 'supervisor.mjs')
  await bundlePrograms({
    entryPoints: [join(import.meta.dirname, 'process-supervisor.entry.ts')],
    outfile: supervisorEntry,
    external: ['dockerode', 'cpu-features', 'ssh2'],
  })
  return new ProcessEngine({ ...common, supervisorEntry, allowUnconfined: false })
}

async function seed(pool: Pool, systemBuildpacks: readonly string[]): Promise<string> {
  const [quota, organization, space] = [randomUUID(), randomUUID(), randomUUID()]
  await execute(pool, sql`INSERT INTO organization_quotas (guid, name) VALUES (${quota}, ${`q-${quota}`})`)
  await execute(
    pool,
    sql`INSERT INTO organizations (guid, name, quota_guid) VALUES (${organization}, ${`o-${organization}`}, ${quota})`,
  )
  await execute(pool, sql`INSERT INTO spaces (guid, name, organization_guid) VALUES (${space}, 'dev', ${organization})`)
  for (const [i, name] of systemBuildpacks.entries())
    await execute(
      pool,
      sql`INSERT INTO buildpacks (guid, name, position, state, filename, system)
          VALUES (${randomUUID()}, ${name}, ${i + 1}, 'READY', ${`${name}-v1.0.0.zip`}, true)`,
    )
  return space
}
