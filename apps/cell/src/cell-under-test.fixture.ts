import { execFileSync } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { createEngine } from '@bloomery/containers'
import { RunSpec, type SeenInstance, type WantedInstance } from '@bloomery/contracts'
import { createAuthority, makeTestIdentity, saveNodeIdentity } from '@bloomery/pki'
import { silentLogger } from '@bloomery/telemetry'
import { FakeApi } from './fake-api.fixture.js'
import { FakeScheduler } from './fake-scheduler.fixture.js'
import { newInstanceGuid } from './instances/instance-guid.js'

export const STACK_IMAGE = process.env['BLOOMERY_STACK_IMAGE'] ?? 'bloomery/stack:bookworm'

export function hasStackImage(): boolean {
  try {
    const check = ['run', '--rm', '--network', 'none', '--entrypoint', 'test', STACK_IMAGE]
    execFileSync('docker', [...check, '-x', '/usr/local/lib/bloomery/supervise'], { stdio: 'ignore' })
    return true
  } catch {
    console.warn(`No container engine with the stack image ${STACK_IMAGE} answers: the cell agent is NOT tested on docker here.`)
    return false
  }
}

/** Answers http with its environment; `/exit` ends it, `/eat` takes all memory, `/identity` shows whose certificate it has. Prints COUNT lines, and takes LINGER_MS to end. */
const SERVER = `
const http = require('http')
console.log('listening with', process.env.FROM_PROFILE)
http.createServer((q, s) => {
  if (q.url === '/exit') process.exit(9)
  if (q.url === '/identity') {
    const { readFileSync, statSync } = require('fs'), { X509Certificate, createPrivateKey } = require('crypto')
    const { CF_INSTANCE_CERT: path, CF_INSTANCE_KEY: keyPath } = process.env
    const pem = readFileSync(path, 'utf8')
    const isOurs = new X509Certificate(pem).checkPrivateKey(createPrivateKey(readFileSync(keyPath)))
    const { mode, uid } = statSync(keyPath)
    const trusted = readFileSync(process.env.CF_SYSTEM_CERT_PATH + '/instance-identity.crt', 'utf8')
    return s.end(JSON.stringify({ path, keyPath, pem, isOurs, trusted, mode: (mode & 0o777).toString(8), isVcaps: uid === process.getuid() }))
  }
  if (q.url === '/sick') globalThis.sick = true
  if (q.url === '/eat') { const a = []; for (;;) a.push(Buffer.alloc(1e7, 1)) }
  if (globalThis.sick && q.url === '/health') { s.statusCode = 500 }
  s.end(JSON.stringify(process.env))
}).listen(process.env.PORT)
let line = 0
const counting = setInterval(() => {
  if (line >= Number(process.env.COUNT || 0)) clearInterval(counting)
  else console.log('line ' + ++line)
}, 2)
process.on('SIGTERM', () => {
  console.log('terminating')
  setTimeout(() => process.exit(0), Number(process.env.LINGER_MS || 0))
})
`

export async function eventually<T>(
  probe: () => T | Promise<T>,
  what: string,
  timeoutMs = 60_000,
): Promise<Exclude<T, undefined | false>> {
  const deadline = Date.now() + timeoutMs
  for (;;) {
    const value = await probe()
    if (value !== undefined && value !== false) return value as Exclude<T, undefined | false>
    if (Date.now() > deadline) throw new Error(`in vain: ${what}`)
    await delay(20)
  }
}

/** A droplet with the machine's own node in it, as a stager unpacks it. */
export async function makeDroplet(folder: string): Promise<string> {
  await mkdir(join(folder, 'app/.profile.d'), { recursive: true })
  for (const name of ['deps/0/bin', 'profile.d', 'logs', 'tmp']) await mkdir(join(folder, name), { recursive: true })
  await writeFile(join(folder, 'app/server.js'), SERVER)
  await writeFile(join(folder, 'deps/0/bin/node'), readFileSync(process.execPath))
  await chmod(join(folder, 'deps/0/bin/node'), 0o755)
  await writeFile(join(folder, 'profile.d/0.sh'), 'export PATH=$DEPS_DIR/0/bin:$PATH\nfalse\n')
  await writeFile(join(folder, 'app/.profile.d/a.sh'), 'export FROM_PROFILE="profile.d of the app"\n')
  await writeFile(join(folder, 'app/.profile'), 'export FROM_PROFILE="$FROM_PROFILE and .profile"\n')
  await writeFile(join(folder, 'staging_info.yml'), '{"detected_buildpack":"x","start_command":"node server.js"}')
  if (process.getuid?.() === 0) execFileSync('chown', ['-R', '2000:2000', folder])
  return folder
}

/** A home with a droplet in it, and a scheduler and a log store beside it; the agent itself is the test's to start. */
export class CellUnderTest {
  readonly installation = randomUUID()
  private constructor(
    readonly home: string,
    readonly fake: FakeScheduler,
    readonly api: FakeApi,
    readonly engine: 'docker' | 'process',
    private readonly nodeDir: string,
  ) {}

  static async open(engine: 'docker' | 'process' = 'docker'): Promise<CellUnderTest> {
    const home = await mkdtemp(join(tmpdir(), 'bloomery-cell-'))
    const authority = await createAuthority({ name: 'Test authority' })
    const identityOf = async (role: 'scheduler' | 'logs' | 'cell' | 'api') =>
      (await makeTestIdentity(role, { nodeId: role === 'cell' ? 'c1' : 'main', authority })).identity
    const fake = new FakeScheduler(await identityOf('scheduler'), await identityOf('logs'))
    await fake.open()
    const api = new FakeApi(await identityOf('api'), await createAuthority({ name: 'Instances' }))
    await api.open()
    const nodeDir = join(home, 'nodes/cell')
    await saveNodeIdentity(nodeDir, await identityOf('cell'))
    const under = new CellUnderTest(home, fake, api, engine, nodeDir)
    await chmod(home, 0o755)
    await makeDroplet(join(home, 'cell/droplets', under.dropletSha))
    return under
  }

  get env(): Record<string, string> {
    return {
      BLOOMERY_HOME: this.home,
      BLOOMERY_NODE_DIR: this.nodeDir,
      BLOOMERY_NODE_ID: 'c1',
      BLOOMERY_JOIN_URL: this.api.url,
      BLOOMERY_SCHEDULER_URL: this.fake.url,
      BLOOMERY_LOGS_URL: this.fake.logsUrl,
      BLOOMERY_INSTALLATION_ID: this.installation,
      BLOOMERY_STACK_IMAGE: STACK_IMAGE,
      BLOOMERY_ENGINE: this.engine,
      BLOOMERY_LOG_LEVEL: process.env['BLOOMERY_LOG_LEVEL'] ?? 'silent',
    }
  }

  get dropletSha(): string {
    return createHash('sha256').update(this.installation).digest('hex')
  }

  wanted(change: Partial<RunSpec> = {}, more: Partial<WantedInstance> = {}): WantedInstance {
    return {
      instanceGuid: newInstanceGuid(),
      index: 0,
      want: 'run',
      spec: RunSpec.parse({
        guid: randomUUID(),
        version: 1,
        appGuid: randomUUID(),
        appName: 'app',
        spaceGuid: randomUUID(),
        spaceName: 'dev',
        organizationGuid: randomUUID(),
        organizationName: 'bloomery',
        processGuid: randomUUID(),
        processType: 'web',
        stack: 'cflinuxfs4',
        dropletGuid: randomUUID(),
        command: null,
        memoryMb: 128,
        diskMb: 128,
        logRateLimit: -1,
        cpuWeight: 2,
        gracefulStopSeconds: 1,
        healthCheck: { type: 'port' },
        ...change,
      }),
      environment: { GREETING: 'hello', VCAP_APPLICATION: '{"name":"app"}', VCAP_SERVICES: '{}' },
      droplet: { sha256: this.dropletSha, sizeBytes: 1 },
      ...more,
    }
  }

  isState(one: WantedInstance, state: string): Promise<SeenInstance> {
    const { fake } = this
    return eventually(
      () => fake.seen(one.instanceGuid)?.state === state && fake.seen(one.instanceGuid),
      `${state}: ${JSON.stringify(fake.report)}`,
    )
  }

  isGone(one: WantedInstance): Promise<true> {
    const { fake } = this
    return eventually(() => fake.report !== undefined && fake.seen(one.instanceGuid) === undefined, `${one.instanceGuid} gone`)
  }

  async get(one: WantedInstance, path = '/'): Promise<string> {
    const { endpoint } = await this.isState(one, 'running')
    const port = endpoint?.ports[0]
    const answer = await fetch(`http://${endpoint?.address ?? ''}:${port?.internal ?? 0}${path}`)
    return answer.text()
  }

  /** Identifiers of the containers that the engine has for this installation. */
  containers(): string[] {
    return execFileSync('docker', ['ps', '-aq', '--filter', `label=bloomery.installation=${this.installation}`], {
      encoding: 'utf8',
    })
      .split('\n')
      .filter(Boolean)
  }

  /** Everything that the agent left, and the folder. */
  async close(supervisorEntry?: string): Promise<void> {
    const engine = createEngine({
      kind: this.engine,
      installationId: this.installation,
      folder: join(this.home, 'cell/containers'),
      image: STACK_IMAGE,
      host: undefined,
      hostAddress: '127.0.0.1',
      trustHostCertificates: true,
      allowUnconfined: false,
      logger: silentLogger,
      ...(supervisorEntry === undefined ? {} : { supervisorEntry }),
    })
    await engine.cleanUp({ everything: true, graceSeconds: 0 })
    await engine.close()
    await this.fake.close()
    await this.api.close()
    await rm(this.home, { recursive: true, force: true })
  }
}
