import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { readFile, rm } from 'node:fs/promises'
import type { FastifyInstance } from 'fastify'
import { BlobError, type BlobEntry, type BlobInfo, type Blobstore } from '@bloomery/blobstore'
import type { Envelope } from '@bloomery/contracts'
import { createDatabase, createPool } from '@bloomery/database'
import { startRedis } from '@bloomery/embedded'
import { Nudges, SharedSlots, StagingQueue } from '@bloomery/queues'
import { Keyring } from '@bloomery/secrets'
import { silentLogger } from '@bloomery/telemetry'
import { createTestDatabase } from '@bloomery/testing'
import { Tails } from './logs/tails.js'
import { buildApp } from './app.js'
import { Changes } from './http/changes.js'
import type { Context } from './http/context.js'
import type { Principal } from './http/principal.js'
import { healthRoutes } from './health.js'
import { Jobs } from './jobs/jobs.js'
import { Brokers } from './service-operations/brokers.js'
import { OrphanMitigator } from './service-operations/orphan-mitigator.js'
import { ServiceOperations } from './service-operations/service-operations.js'
import type { InstanceUsage, LogReader, Waiting } from './logs/log-reader.js'
import { oauthRoutes } from './oauth/routes.js'
import { SigningKeys } from './oauth/signing-keys.js'
import { Tokens } from './oauth/tokens.js'
import type { ApiSettings } from './settings.js'

/** The API over a real Postgres and Redis, with its own data; only the blob store and the log store are stand-ins. */
export interface TestApi {
  readonly app: FastifyInstance
  readonly context: Context
  readonly tokens: Tokens
  readonly keys: SigningKeys
  readonly blobs: MemoryBlobstore
  readonly logs: MemoryLogs
  /** Looks for orphans when told to. */
  readonly orphans: OrphanMitigator
  readonly databaseUrl: string
  readonly redisUrl: string
  /** A caller with these scopes; users get a row. The same name is the same user. */
  caller(name: string, scopes?: readonly string[]): Promise<Caller>
  /** How many statements Prisma sends while this runs. */
  countQueries(work: () => Promise<unknown>): Promise<number>
  close(): Promise<void>
}

export interface Answer {
  readonly status: number
  // Tests look into answers freely; what they find is compared at once.
  readonly body: Json
  readonly text: string
  readonly raw: Buffer
  readonly headers: Record<string, unknown>
}
export type Json = ReturnType<typeof JSON.parse>

/** Sends requests as one user. */
export interface Caller {
  readonly guid: string
  readonly name: string
  readonly token: string
  get(url: string, headers?: Record<string, string>): Promise<Answer>
  post(url: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>
  patch(url: string, body?: unknown): Promise<Answer>
  put(url: string, body?: unknown): Promise<Answer>
  delete(url: string): Promise<Answer>
  /** Follows the job of an answer to its end. */
  job(answer: Answer): Promise<Json>
}

export const TEST_SETTINGS: ApiSettings = {
  systemDomain: 'bloomery.test',
  appsDomain: 'apps.test',
  httpPort: 8080,
  httpsPort: 8443,
  sshPort: 2222,
  tcpPorts: [{ first: 20_000, last: 20_009 }],
  apiHosts: new Set(['localhost', '127.0.0.1', 'api.bloomery.test']),
  publicApiUrl: 'http://api.bloomery.test:8080',
  apiVersion: '3.215.0',
  installationId: 'test',
  maxPackageBytes: 4 * 1024 * 1024,
  defaults: { memoryMb: 1024, diskMb: 1024, maxDiskMb: 2048, stagingMemoryMb: 1024, stagingDiskMb: 4096, logRateLimit: -1 },
  longPollMs: 300,
  services: {
    polling: { intervalSeconds: 0.05, backoffRate: 1.2, maxIntervalSeconds: 0.2, maxDurationSeconds: 60 },
    brokerTimeoutMs: 1_000,
    perBroker: 16,
    callsPerUser: 0,
    checkParameters: false,
    tenantAddresses: { allowed: [], own: [] },
  },
}
const ORDINARY = ['cloud_controller.read', 'cloud_controller.write', 'openid']

export async function startTestApi(
  settings: Partial<ApiSettings> = {},
  more: readonly ((app: FastifyInstance) => void)[] = [],
): Promise<TestApi> {
  const folder = mkdtempSync(join(tmpdir(), 'bloomery-api-'))
  const [postgres, redis] = await Promise.all([
    createTestDatabase(),
    startRedis({ home: folder, installationId: `tests-${randomUUID()}`, logFile: join(folder, 'redis.log') }),
  ])
  const pool = createPool(postgres.url, { max: 8 })
  let queries = 0
  const db = createDatabase(postgres.url, { onQuery: () => queries++ })
  const nudges = new Nudges(redis.url)
  const stagingQueue = new StagingQueue(redis.url)
  const slots = new SharedSlots(redis.url, 30_000)
  const keyring = new Keyring('k1', new Map([['k1', randomBytes(32)]]))
  const compiled = { ...TEST_SETTINGS, ...settings }
  const changes = new Changes(nudges, compiled.longPollMs)
  const jobs = new Jobs(pool, keyring, nudges, silentLogger, () => changes)
  const now = () => new Date()
  const { brokerTimeoutMs: timeoutMs, tenantAddresses, polling, perBroker, callsPerUser } = compiled.services
  const apiInfoLocation = 'api.bloomery.test:8080/'
  const brokers = new Brokers({ db, keyring, timeoutMs, callsPerUser, slots, apiInfoLocation, tenantAddresses })
  const parts = { db, pool, brokers, log: silentLogger, now }
  const operations = new ServiceOperations({ ...parts, keyring, jobs, polling, perBroker })
  const orphans = new OrphanMitigator(parts)
  const blobs = new MemoryBlobstore()
  const logs = new MemoryLogs()
  const context: Context = {
    db,
    pool,
    keyring,
    blobstore: blobs,
    nudges,
    stagingQueue,
    logSender: logs,
    logReader: logs,
    tails: new Tails(Date.now),
    changes,
    jobs,
    brokers,
    operations,
    settings: compiled,
    log: silentLogger,
    now,
  }
  const principals = new Map<string, Principal>()
  const keys = new SigningKeys(db, keyring, context.now)
  await keys.rotate()
  const tokens = new Tokens(pool, keys, 'http://uaa.bloomery.test:8080/oauth/token', context.now)
  const app = await buildApp(context, { verify: async (token) => principals.get(token) ?? tokens.verify(token) }, [
    (routes) => oauthRoutes(routes, context, tokens, keys),
    (routes) => healthRoutes(routes, { pool, logReader: logs, isRedisReady: () => nudges.isReady() }),
    ...more,
  ])
  await app.ready()
  jobs.start(500)
  operations.start(100)

  return {
    app,
    context,
    tokens,
    keys,
    blobs,
    logs,
    orphans,
    databaseUrl: postgres.url,
    redisUrl: redis.url,
    caller: async (name, scopes = ORDINARY) => {
      const user = await db.user.upsert({
        where: { username_origin: { username: name, origin: 'uaa' } },
        update: {},
        create: { guid: randomUUID(), username: name, registered: true },
      })
      const token = `token-of-${name}-${scopes.join('+')}`
      principals.set(token, { kind: 'user', guid: user.guid, name, origin: 'uaa', scopes: new Set(scopes) })
      return callerOf(app, user.guid, name, token)
    },
    countQueries: async (work) => {
      const before = queries
      await work()
      return queries - before
    },
    close: async () => {
      await app.close()
      await jobs.close()
      await Promise.all([operations.close(), orphans.close()])
      await brokers.close()
      changes.close()
      await Promise.all([nudges.close(), stagingQueue.close(), slots.close(), db.$disconnect(), pool.end()])
      await redis.stop()
      await postgres.drop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

export const adminScopes = ['cloud_controller.admin', 'cloud_controller.read', 'cloud_controller.write']

function callerOf(app: FastifyInstance, guid: string, name: string, token: string): Caller {
  const send = async (
    method: 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE',
    url: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer> => {
    const plain = typeof body === 'string' || Buffer.isBuffer(body)
    const response = await app.inject({
      method,
      url,
      headers: { authorization: `bearer ${token}`, host: 'localhost:8080', 'content-type': 'application/json', ...headers },
      ...(body === undefined ? {} : { payload: plain ? body : JSON.stringify(body) }),
    })
    const isJson = String(response.headers['content-type']).includes('json')
    return {
      status: response.statusCode,
      body: isJson && response.payload ? JSON.parse(response.payload) : undefined,
      text: response.payload,
      raw: response.rawPayload,
      headers: response.headers,
    }
  }
  return {
    guid,
    name,
    token,
    get: (url, headers) => send('GET', url, undefined, headers),
    post: (url, body, headers) => send('POST', url, body, headers),
    patch: (url, body) => send('PATCH', url, body),
    put: (url, body) => send('PUT', url, body),
    delete: (url) => send('DELETE', url),
    job: async (answer) => {
      const location = String(answer.headers['location'] ?? '')
      if (!location) throw new Error(`No job: ${answer.status} ${answer.text}`)
      for (const deadline = Date.now() + 15_000; Date.now() < deadline;) {
        const job = (await send('GET', new URL(location).pathname)).body
        if (job.state === 'COMPLETE' || job.state === 'FAILED') return job
      }
      throw new Error(`The job ${location} did not end.`)
    },
  }
}

/** An organization with a space in it, and callers for each role that matters. */
export async function anOrganization(api: TestApi, name = `org-${randomUUID().slice(0, 8)}`) {
  const { db } = api.context
  const quota = await db.organizationQuota.upsert({
    where: { name: 'default' },
    update: {},
    create: { guid: randomUUID(), name: 'default', isDefault: true },
  })
  await db.stack.upsert({
    where: { name: 'cflinuxfs4' },
    update: {},
    create: { guid: randomUUID(), name: 'cflinuxfs4', isDefault: true },
  })
  const domain = await db.domain.upsert({
    where: { name: api.context.settings.appsDomain },
    update: {},
    create: { guid: randomUUID(), name: api.context.settings.appsDomain },
  })
  const organization = await db.organization.create({ data: { guid: randomUUID(), name, quotaGuid: quota.guid } })
  const space = await db.space.create({ data: { guid: randomUUID(), name: 'dev', organizationGuid: organization.guid } })
  const withRole = async (type: string) => {
    const caller = await api.caller(`${type}-${name}`)
    const scope = type.startsWith('space') ? { spaceGuid: space.guid } : { organizationGuid: organization.guid }
    await db.role.create({ data: { guid: randomUUID(), type, userGuid: caller.guid, ...scope } })
    return caller
  }
  return {
    organization,
    space,
    domain,
    quota,
    withRole,
    developer: await withRole('space_developer'),
    auditor: await withRole('space_auditor'),
    stranger: await api.caller(`stranger-${name}`),
    admin: await api.caller('admin', adminScopes),
  }
}

/** Blobs in memory; signed addresses lead nowhere. */
export class MemoryBlobstore implements Blobstore {
  readonly blobs = new Map<string, { bytes: Buffer; modifiedAt: Date }>()

  async put(key: string, body: Readable, options: { maxBytes?: number } = {}): Promise<BlobInfo> {
    const chunks: Buffer[] = []
    let size = 0
    for await (const chunk of body) {
      const bytes = Buffer.from(chunk as Uint8Array)
      size += bytes.length
      if (options.maxBytes !== undefined && size > options.maxBytes) throw new BlobError('too-large', `${key} is too large`)
      chunks.push(bytes)
    }
    return this.#keep(key, Buffer.concat(chunks))
  }
  async putFile(key: string, path: string): Promise<BlobInfo> {
    const info = this.#keep(key, await readFile(path))
    await rm(path)
    return info
  }
  async get(key: string): Promise<{ body: Readable; sizeBytes: number }> {
    const blob = this.blobs.get(key)
    if (!blob) throw new BlobError('not-found', `${key} is not here`)
    return { body: Readable.from([blob.bytes]), sizeBytes: blob.bytes.length }
  }
  async stat(key: string): Promise<BlobEntry | undefined> {
    const blob = this.blobs.get(key)
    return blob && { key, sizeBytes: blob.bytes.length, modifiedAt: blob.modifiedAt }
  }
  async delete(key: string): Promise<void> {
    this.blobs.delete(key)
  }
  async *list(prefix: string): AsyncIterable<BlobEntry> {
    for (const [key, blob] of this.blobs)
      if (key.startsWith(prefix)) yield { key, sizeBytes: blob.bytes.length, modifiedAt: blob.modifiedAt }
  }
  async copy(from: string, to: string): Promise<void> {
    const blob = this.blobs.get(from)
    if (!blob) throw new BlobError('not-found', `${from} is not here`)
    this.blobs.set(to, blob)
  }
  async signedUrl(key: string): Promise<string> {
    return `http://blobs.test/${key}`
  }
  localPath(): string | undefined {
    return undefined
  }
  #keep(key: string, bytes: Buffer): BlobInfo {
    this.blobs.set(key, { bytes, modifiedAt: new Date() })
    return { key, sizeBytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
  }
}

/** Remembers what was sent; answers what a test has put in. */
export class MemoryLogs implements LogReader {
  readonly sent: Envelope[] = []
  readonly forgotten: string[] = []
  readonly usage = new Map<string, InstanceUsage[]>()
  /** What a read answers. */
  batch: unknown[] = []
  /** Of each read the source and the query. */
  readonly reads: [source: string, query: string][] = []
  readonly waits: number[] = []
  sources: Record<string, unknown> = {}

  send(envelope: Envelope): void {
    this.sent.push(envelope)
  }
  async flush(): Promise<boolean> {
    return true
  }
  async close(): Promise<void> {
    this.sent.length = 0
  }
  async read(sourceId: string, query: URLSearchParams, waiting?: Waiting): Promise<unknown> {
    this.reads.push([sourceId, query.toString()])
    if (waiting) this.waits.push(waiting.waitMs)
    return { envelopes: { batch: [...this.batch] } }
  }
  async meta(sourceIds?: readonly string[]): Promise<unknown> {
    return {
      meta: Object.fromEntries(
        Object.entries(this.sources).filter(([name]) => sourceIds === undefined || sourceIds.includes(name)),
      ),
    }
  }
  async metrics(sourceId: string): Promise<readonly InstanceUsage[]> {
    return this.usage.get(sourceId) ?? []
  }
  async forget(sourceId: string): Promise<void> {
    this.forgotten.push(sourceId)
  }
}
