import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openBlobstore } from '@bloomery/blobstore'
import type { SeenContainer } from '@bloomery/containers'
import { areLeftoversAsked, execute, replaceLeftovers, rows, sql, transaction } from '@bloomery/database/sql'
import { silentLogger } from '@bloomery/telemetry'
import { withPostgres } from '@bloomery/testing'
import { BuildpackStore } from '../buildpacks/buildpack-store.js'
import { RuntimeSources } from '../runtimes/runtime-sources.js'
import { RuntimeStore } from '../runtimes/runtime-store.js'
import { AppCaches } from '../staging/app-cache.js'
import { BUILD_LABEL, STAGER_LABEL } from '../staging/labels.js'
import { Tidier } from './tidier.js'

const [UNDER_WAY, LOST, ALIVE, DELETED] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()] as const
const LONG_AGO = 1_000_000_000

describe('what a stager leaves on its machine', () => {
  const database = withPostgres()
  let home: string
  let containers: SeenContainer[]
  let tidier: Tidier
  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'leftovers-'))
    const put = async (path: string, unused = false) => {
      await mkdir(join(home, path), { recursive: true })
      await writeFile(join(home, path, 'file'), Buffer.alloc(100_000))
      if (unused) await utimes(join(home, path), LONG_AGO, LONG_AGO)
    }
    await put('buildpacks/nodejs-1', true)
    await put('buildpacks/nodejs-2')
    await put('runtimes/node-20', true)
    await put('runtimes/node-22')
    await put('runtimes/.new-node-24-1', true)
    await put(`caches/${ALIVE}`)
    await put(`caches/${DELETED}`)
    await put(`builds/${UNDER_WAY}-3`)
    await put(`builds/${LOST}-1`)
    await mkdir(join(home, 'runtimes/.members'))
    for (const member of ['node-18-x@deps_0_node.gz', 'node-22@deps_0_node.gz'])
      await writeFile(join(home, 'runtimes/.members', member), 'x')
    const container = (name: string, build: string, stager: string) =>
      ({ name, labels: { [BUILD_LABEL]: build, [STAGER_LABEL]: stager }, purpose: 'staging' }) as unknown as SeenContainer
    containers = [
      container('running', UNDER_WAY, 'm1'),
      container('lost', LOST, 'm1'),
      container('of-another-stager', LOST, 'm2'),
      { name: 'clearing-up', labels: { [STAGER_LABEL]: 'm1' }, purpose: 'staging' } as unknown as SeenContainer,
    ]
    const blobstore = await openBlobstore(`file:${home}/blobs`, {
      blobsUrl: 'https://127.0.0.1:1',
      signingKey: () => Buffer.alloc(32),
    })
    const sources = new RuntimeSources({
      folder: join(home, 'versions'),
      architecture: 'x64',
      proxies: { http: undefined, https: undefined, no: undefined },
      go: {},
      home,
    })
    const buildpacks = new BuildpackStore(join(home, 'buildpacks'), home, blobstore)
    const runtimes = new RuntimeStore(join(home, 'runtimes'), sources, 'x64', silentLogger)
    const caches = new AppCaches(join(home, 'caches'), blobstore)
    tidier = new Tidier({
      stores: [
        () => buildpacks.leftovers(),
        () => runtimes.leftovers(),
        () => caches.leftovers(async (guids) => new Set(guids.filter((guid) => guid === ALIVE))),
        () => Promise.reject(new Error('a store that is away')),
      ],
      engine: {
        list: async () => containers,
        remove: async (name) => void (containers = containers.filter((each) => each.name !== name)),
      },
      workFolder: join(home, 'builds'),
      nodeId: 'm1',
      isUnderWay: (build) => build === UNDER_WAY,
      logger: silentLogger,
    })
  })
  afterEach(() => rm(home, { recursive: true, force: true }))

  const EXPECTED = [
    'buildpacks/nodejs-1',
    `builds/${LOST}-1`,
    `caches/${DELETED}`,
    'lost',
    'runtimes/.members/node-18-x@deps_0_node.gz',
    'runtimes/.new-node-24-1',
    'runtimes/node-20',
  ].sort()

  it('is listed with bytes and reason and stays, until it is tidied: then that goes, and nothing else', async () => {
    const listed = await tidier.list()
    expect(listed.map(({ path }) => path).sort()).toEqual(EXPECTED)
    for (const { path, bytes, reason } of listed) {
      expect(reason).not.toBe('')
      if (path.startsWith('runtimes/node')) expect(bytes).toBeGreaterThanOrEqual(100_000)
    }
    for (const path of EXPECTED) if (path !== 'lost') expect(existsSync(join(home, path))).toBe(true)
    await tidier.tidy()
    for (const path of EXPECTED) expect(existsSync(join(home, path))).toBe(false)
    for (const kept of ['buildpacks/nodejs-2', 'runtimes/node-22', `caches/${ALIVE}`, `builds/${UNDER_WAY}-3`])
      expect(existsSync(join(home, kept))).toBe(true)
    expect(existsSync(join(home, 'runtimes/.members/node-22@deps_0_node.gz'))).toBe(true)
    expect(containers.map(({ name }) => name)).toEqual(['running', 'of-another-stager', 'clearing-up'])
    expect(await tidier.list()).toEqual([])
    await tidier.tidy()
  })

  it('stands in rows of this machine alone, where an operator can ask for it to go', async () => {
    const replace = async (machine: string, found: Parameters<typeof replaceLeftovers>[2], tidied = false) =>
      transaction(database.pool, (tx) => replaceLeftovers(tx, machine, found, { tidied }))
    const asked = () => Promise.all(['m1', 'm2'].map((machine) => areLeftoversAsked(database.pool, machine)))
    await replace('m2', [{ path: 'runtimes/x', kind: 'runtime', reason: 'unused', bytes: 1 }])
    await replace('m1', await tidier.list())
    await replace('m1', await tidier.list())
    const paths = async () =>
      (
        await rows<{ path: string }>(database.pool, sql`SELECT path FROM machine_leftovers WHERE node_id = 'm1' ORDER BY path`)
      ).map(({ path }) => path)
    expect((await paths()).sort()).toEqual(EXPECTED)
    expect(await asked()).toEqual([false, false])
    await execute(database.pool, sql`UPDATE machine_leftovers SET asked_at = now() WHERE node_id = 'm1'`)
    expect(await asked()).toEqual([true, false])
    // The wish outlives a look that comes before it was fulfilled.
    await replace('m1', await tidier.list())
    expect(await asked()).toEqual([true, false])
    await tidier.tidy()
    await replace('m1', await tidier.list(), true)
    expect([await paths(), await asked()]).toEqual([[], [false, false]])
  })
})
