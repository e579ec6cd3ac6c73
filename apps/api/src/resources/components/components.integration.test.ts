import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { versionKey } from '@bloomery/domain'
import { cycloneDxFaults, eventually } from '@bloomery/testing'
import { adminScopes, anOrganization, startTestApi, type TestApi } from '../../testing.fixture.js'

let api: TestApi
let place: Awaited<ReturnType<typeof anOrganization>>
let other: Awaited<ReturnType<typeof anOrganization>>
beforeAll(async () => {
  api = await startTestApi()
  place = await anOrganization(api)
  other = await anOrganization(api)
})
afterAll(() => api.close())

const SHA512 = `sha512-${Buffer.from('a'.repeat(64)).toString('base64')}`

async function aDroplet(
  space: string,
  name: string,
  components: readonly (readonly [string, string, string, string?])[],
  current = true,
) {
  const { db } = api.context
  const app = await db.app.upsert({
    where: { spaceGuid_name: { spaceGuid: space, name } },
    update: {},
    create: { guid: randomUUID(), name, spaceGuid: space },
  })
  const droplet = await db.droplet.create({
    data: {
      guid: randomUUID(),
      appGuid: app.guid,
      state: 'STAGED',
      sha256: 'ab'.repeat(32),
      components: {
        create: components.map(([purl, componentName, version, checksum = SHA512]) => ({
          purl,
          name: componentName,
          version,
          versionKey: versionKey(version),
          source: 'app/package-lock.json',
          checksum,
        })),
      },
    },
  })
  if (current) await db.app.update({ where: { guid: app.guid }, data: { currentDropletGuid: droplet.guid } })
  return { app, droplet }
}

describe('components', () => {
  it('finds the apps whose droplets hold one, by name and versions, of the spaces that the caller sees', async () => {
    await aDroplet(place.space.guid, 'old', [['pkg:npm/lodash@4.17.20', 'lodash', '4.17.20']])
    await aDroplet(place.space.guid, 'new', [['pkg:npm/lodash@4.17.21', 'lodash', '4.17.21']])
    await aDroplet(place.space.guid, 'new', [['pkg:npm/lodash@4.17.19', 'lodash', '4.17.19']], false)
    await aDroplet(other.space.guid, 'theirs', [['pkg:maven/org.x/log4j-core@2.14.1', 'org.x:log4j-core', '2.14.1']])
    const apps = async (caller: typeof place.developer, query: string) =>
      (await caller.get(`/bloomery/v1/components?${query}`)).body.resources.map(
        (each: { app: { name: string }; component: { version: string } }) => `${each.app.name} ${each.component.version}`,
      )
    expect(await apps(place.developer, 'name=lodash')).toEqual(['new 4.17.21', 'old 4.17.20'])
    expect(await apps(place.developer, `name=lodash&version=${encodeURIComponent('<4.17.21')}`)).toEqual(['old 4.17.20'])
    expect(await apps(place.developer, `name=lodash&version=${encodeURIComponent('<4.17.21')}&all=true`)).toEqual([
      'new 4.17.19',
      'old 4.17.20',
    ])
    expect(await apps(place.developer, 'name=log4j-core')).toEqual([])
    expect(await apps(other.developer, `name=log4j-core&version=${encodeURIComponent('[2.0,2.17.1)')}`)).toEqual([
      'theirs 2.14.1',
    ])
    expect(await apps(place.admin, 'name=org.x:log4j-core')).toEqual(['theirs 2.14.1'])
    expect(await apps(place.admin, 'name=log4j_core')).toEqual([])
    for (const bad of ['name=', 'name=a&version=the+best', 'nme=a'])
      expect((await place.developer.get(`/bloomery/v1/components?${bad}`)).body.errors[0].code).toBe(10005)
  })

  it('gives a droplet’s bill of materials as CycloneDX to whoever may see its space', async () => {
    const { app, droplet } = await aDroplet(place.space.guid, 'billed', [
      ['pkg:maven/org.x/y@1.0', 'org.x:y', '1.0'],
      ['pkg:npm/a@1.0.0', 'a', '1.0.0'],
      ['pkg:npm/b@1.0.0', 'b', '1.0.0', 'sha512-short'],
    ])
    const { body, headers } = await place.auditor.get(`/bloomery/v1/droplets/${droplet.guid}/bom`)
    expect(headers['content-type']).toMatch(/^application\/vnd\.cyclonedx\+json/)
    expect(await cycloneDxFaults(body)).toEqual([])
    expect(body).toMatchObject({
      bomFormat: 'CycloneDX',
      specVersion: '1.5',
      metadata: { component: { name: 'billed', hashes: [{ alg: 'SHA-256' }] }, properties: [{ value: app.guid }] },
      components: [
        { group: 'org.x', name: 'y', purl: 'pkg:maven/org.x/y@1.0', hashes: [{ alg: 'SHA-512', content: '61'.repeat(64) }] },
        { name: 'a', version: '1.0.0', properties: [{ value: 'app/package-lock.json' }] },
        { name: 'b' },
      ],
    })
    expect((await place.stranger.get(`/bloomery/v1/droplets/${droplet.guid}/bom`)).status).toBe(404)
  })
})

describe('a droplet that serves again', () => {
  it('is listed with the package that was found to give it, and goes with its bill to another app', async () => {
    const { db } = api.context
    const { app, droplet } = await aDroplet(place.space.guid, 'again', [['pkg:npm/a@1.0.0', 'a', '1.0.0']])
    const twin = await db.package.create({ data: { guid: randomUUID(), appGuid: app.guid, state: 'READY' } })
    const listed = async () =>
      (await place.developer.get(`/v3/packages/${twin.guid}/droplets?states=STAGED`)).body.resources.map(
        (each: { guid: string }) => each.guid,
      )
    expect(await listed()).toEqual([])
    await db.build.create({
      data: {
        guid: randomUUID(),
        appGuid: app.guid,
        packageGuid: twin.guid,
        dropletGuid: droplet.guid,
        state: 'STAGED',
        reused: true,
        stack: 'cflinuxfs4',
        stagingMemoryMb: 1,
        stagingDiskMb: 1,
      },
    })
    expect(await listed()).toEqual([droplet.guid])
    const { app: target } = await aDroplet(place.space.guid, 'copy', [], false)
    api.blobs.blobs.set('droplets/original', { bytes: Buffer.from('x'), modifiedAt: new Date() })
    await db.droplet.update({ where: { guid: droplet.guid }, data: { blobKey: 'droplets/original', inputs: { bits: 'x' } } })
    const copy = await place.developer.post(`/v3/droplets?source_guid=${droplet.guid}`, {
      relationships: { app: { data: { guid: target.guid } } },
    })
    const done = await eventually(async () => {
      const row = await db.droplet.findUnique({ where: { guid: copy.body.guid }, include: { components: true } })
      return row?.state === 'STAGED' ? row : undefined
    })
    expect(done).toMatchObject({ inputs: { bits: 'x' }, components: [{ purl: 'pkg:npm/a@1.0.0' }] })
  })
})

describe('the explanation of a build', () => {
  it('tells what it waits for, how it failed, or what its droplet was made of; and cancels', async () => {
    const { db } = api.context
    const { app, droplet } = await aDroplet(place.space.guid, 'explained', [['pkg:npm/a@1.0.0', 'a', '1.0.0']])
    const guid = randomUUID()
    await db.build.create({
      data: {
        guid,
        appGuid: app.guid,
        stack: 'cflinuxfs4',
        stagingMemoryMb: 1024,
        stagingDiskMb: 1024,
        waitsFor: '2 builds are under way',
      },
    })
    const address = `/bloomery/v1/builds/${guid}`
    expect((await place.developer.get(`${address}/explanation`)).body).toMatchObject({
      state: 'STAGING',
      waits_for: '2 builds are under way',
      failure: null,
      droplet: null,
    })
    expect((await place.stranger.get(`${address}/explanation`)).status).toBe(404)
    expect((await place.auditor.post(`${address}/actions/cancel`)).status).toBe(403)
    expect((await place.developer.post(`${address}/actions/cancel`)).status).toBe(202)
    expect((await db.build.findUnique({ where: { guid } }))?.cancelRequested).toBe(true)
    await db.build.update({
      where: { guid },
      data: {
        state: 'FAILED',
        failure: {
          class: 'StagingError',
          cause: 'out-of-memory',
          sentence: 'Staging error: x',
          nextStep: 'Ask for more.',
          lastLines: ['a', 'b'],
        },
      },
    })
    expect((await place.developer.get(`${address}/explanation`)).body.failure).toEqual({
      id: 'StagingError',
      cause: 'out-of-memory',
      sentence: 'Staging error: x',
      next_step: 'Ask for more.',
      last_lines: ['a', 'b'],
    })
    expect((await place.developer.post(`${address}/actions/cancel`)).body.errors[0].detail).toMatch(
      /has ended already: it is FAILED/,
    )
    await db.build.update({ where: { guid }, data: { state: 'STAGED', failure: {}, dropletGuid: droplet.guid, reused: true } })
    expect((await place.developer.get(`${address}/explanation`)).body).toMatchObject({
      reused: true,
      droplet: { guid: droplet.guid, components: 1 },
    })
  })
})

describe('garbage', () => {
  it('is listed with bytes and reason before anything is deleted, and only to operators', async () => {
    const { db } = api.context
    const { app } = await aDroplet(place.space.guid, 'wasteful', [])
    const at = (days: number) => new Date(Date.now() - days * 86_400_000)
    for (let i = 0; i < 7; i++) {
      const key = `droplets/waste-${i}`
      await db.droplet.create({
        data: { guid: `waste-${i}`, appGuid: app.guid, state: 'STAGED', blobKey: key, sizeBytes: 10n, createdAt: at(20 - i) },
      })
      api.blobs.blobs.set(key, { bytes: Buffer.alloc(10), modifiedAt: at(20 - i) })
    }
    // Taken again by a push of yesterday.
    await db.droplet.update({ where: { guid: 'waste-0' }, data: { reusedAt: at(1) } })
    api.blobs.blobs.set('droplets/nobody', { bytes: Buffer.alloc(7), modifiedAt: at(3) })
    api.blobs.blobs.set('foreign/thing', { bytes: Buffer.alloc(7), modifiedAt: at(300) })
    await db.machineLeftover.create({
      data: { nodeId: 'm1', path: 'runtimes/node-1', kind: 'runtime', bytes: 1000n, reason: 'unused' },
    })
    expect((await place.developer.get('/bloomery/v1/garbage')).status).toBe(403)
    const listed = await place.admin.get('/bloomery/v1/garbage')
    expect(listed.body).toEqual({
      total: { blobs: 3, leftovers: 1, bytes: 1027 },
      resources: [
        {
          key: 'droplets/waste-2',
          kind: 'droplet',
          bytes: 10,
          reason: expect.stringMatching(/neither current/),
          app: { guid: app.guid, name: 'wasteful' },
          machine: null,
        },
        {
          key: 'droplets/waste-1',
          kind: 'droplet',
          bytes: 10,
          reason: expect.any(String),
          app: { guid: app.guid, name: 'wasteful' },
          machine: null,
        },
        {
          key: 'droplets/nobody',
          kind: 'ownerless',
          bytes: 7,
          reason: expect.stringMatching(/belongs to nothing/),
          app: null,
          machine: null,
        },
        { key: 'runtimes/node-1', kind: 'runtime', bytes: 1000, reason: 'unused', app: null, machine: 'm1' },
      ],
    })
    expect(api.blobs.blobs.has('droplets/waste-1')).toBe(true)
    const reader = await api.caller('reader', ['cloud_controller.admin_read_only', 'cloud_controller.read'])
    expect((await reader.post('/bloomery/v1/garbage/actions/collect')).status).toBe(403)
    const root = await api.caller('root', adminScopes)
    expect((await root.post('/bloomery/v1/garbage/actions/collect')).body.total).toEqual({
      blobs: 3,
      leftovers: 1,
      bytes: 1027,
    })
    // The machine itself deletes it, if it is still without need there.
    expect((await db.machineLeftover.findFirst())?.askedAt).toBeInstanceOf(Date)
    expect([...api.blobs.blobs.keys()].filter((key) => /waste|nobody|foreign/.test(key)).sort()).toEqual([
      'droplets/waste-0',
      'droplets/waste-3',
      'droplets/waste-4',
      'droplets/waste-5',
      'droplets/waste-6',
      'foreign/thing',
    ])
    expect((await db.droplet.findUnique({ where: { guid: 'waste-1' } }))?.state).toBe('EXPIRED')
  })
})
