import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { connect, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { extractZip, PACKAGE_LIMITS, packTar } from '@bloomery/archives'
import { eventually } from '@bloomery/testing'
import { anOrganization, startTestApi, type Caller, type Json, type TestApi } from '../../testing.fixture.js'
import { createApp, createPackage, finishBuild, multipart, pushApp, sha1, toApp, uploadBits, zipOf } from '../push.fixture.js'
import { expireBits } from '../../retention/expire-bits.js'

const resourceOf = (path: string, content: string, mode = '644') => ({
  path,
  mode,
  checksum: { value: sha1(content) },
  size_in_bytes: content.length,
})

describe('packages', () => {
  let api: TestApi
  beforeAll(async () => {
    api = await startTestApi({ maxPackageBytes: 64 * 1024, installationId: `packages-${process.pid}` })
    await api.app.listen({ port: 0, host: '127.0.0.1' })
  })
  afterAll(() => api.close())

  const stateOf = async (caller: Caller, guid: string) => (await caller.get(`/v3/packages/${guid}`)).body
  const litter = async () => (await readdir(tmpdir())).filter((name) => name.startsWith(`bloomery-api-packages-${process.pid}-`))
  const prepare = async () => {
    const place = await anOrganization(api)
    const app = await createApp(place.developer, place.space.guid)
    return { ...place, app, packageGuid: await createPackage(place.developer, app.guid) }
  }
  const isPooled = (caller: Caller, content: string) =>
    eventually(
      async () =>
        (await caller.post('/v3/resource_matches', { resources: [resourceOf('x', content)] })).body.resources.length === 1,
    )
  const unpacked = async (guid: string, look: (folder: string) => Promise<void>) => {
    const folder = await mkdtemp(join(tmpdir(), 'package-'))
    const { body } = await api.blobs.get(`packages/${guid}`)
    await writeFile(join(folder, 'p.zip'), await buffer(body))
    await extractZip(join(folder, 'p.zip'), join(folder, 'out'), PACKAGE_LIMITS)
    await look(join(folder, 'out'))
    await rm(folder, { recursive: true })
  }

  it('takes bits once, knows their checksum, and gives them back', async () => {
    const { developer, auditor, stranger, packageGuid } = await prepare()
    const bits = await zipOf({ 'a.txt': 'content of a' })
    expect((await stateOf(developer, packageGuid)).state).toBe('AWAITING_UPLOAD')
    expect((await uploadBits(auditor, packageGuid, bits)).status).toBe(403)
    expect((await uploadBits(stranger, packageGuid, bits)).status).toBe(404)
    expect((await uploadBits(developer, packageGuid, bits)).body).toMatchObject({ guid: packageGuid, state: 'READY' })
    const download = await developer.get(`/v3/packages/${packageGuid}/download`)
    const { data } = await stateOf(developer, packageGuid)
    expect(data.checksum).toEqual({ type: 'sha256', value: createHash('sha256').update(download.raw).digest('hex') })
    expect((await stranger.get(`/v3/packages/${packageGuid}/download`)).status).toBe(404)
    expect((await auditor.get(`/v3/packages/${packageGuid}/download`)).status).toBe(403)
    const again = await uploadBits(developer, packageGuid, bits)
    expect([again.status, again.body.errors[0].detail]).toEqual([
      422,
      'Bits may be uploaded only once. Create a new package to upload different bits.',
    ])
    await eventually(async () => (await litter()).length === 0)
  })

  it('puts matched files beside what was sent, with their modes', async () => {
    const { developer, app, packageGuid } = await prepare()
    const content = `known ${app.guid}`
    await uploadBits(developer, packageGuid, { known: content, 'the/same': content, 'and/again': content })
    await isPooled(developer, content)
    const second = await createPackage(developer, app.guid)
    const matched = [resourceOf('bin/run', content, '755'), resourceOf('copy', content)]
    expect((await uploadBits(developer, second, { fresh: 'new' }, matched)).body.state).toBe('READY')
    await unpacked(second, async (folder) => {
      expect(await readFile(join(folder, 'bin/run'), 'utf8')).toBe(content)
      expect(await readFile(join(folder, 'copy'), 'utf8')).toBe(content)
      expect(await readFile(join(folder, 'fresh'), 'utf8')).toBe('new')
      expect((await stat(join(folder, 'bin/run'))).mode & 0o777).toBe(0o755)
    })
    // All matched: no bits at all.
    const third = await createPackage(developer, app.guid)
    const { body, headers } = multipart([{ name: 'resources', text: JSON.stringify(matched) }])
    expect((await developer.post(`/v3/packages/${third}/upload`, body, headers)).body.state).toBe('READY')
  })

  it("gives no right to another organization's files, whatever hash is known", async () => {
    const owner = await prepare()
    const content = `secret of ${owner.app.guid}`
    await uploadBits(owner.developer, owner.packageGuid, { secret: content })
    await isPooled(owner.developer, content)
    const thief = await prepare()
    const taken = await uploadBits(thief.developer, thief.packageGuid, { a: '1' }, [resourceOf('stolen', content)])
    expect([taken.status, taken.body.errors[0].detail]).toEqual([
      422,
      expect.stringContaining("The file 'stolen' is not known here"),
    ])
    expect((await stateOf(thief.developer, thief.packageGuid)).state).toBe('AWAITING_UPLOAD')
    // Nor does an auditor of the organization have it.
    expect((await owner.auditor.post('/v3/resource_matches', { resources: [resourceOf('x', content)] })).body.resources).toEqual(
      [],
    )
  })

  it('forgets a pooled file that is gone, so that the next push sends it', async () => {
    const { developer, app, packageGuid } = await prepare()
    const content = `lost ${app.guid}`
    await uploadBits(developer, packageGuid, { lost: content })
    await isPooled(developer, content)
    await api.blobs.delete(`files/${createHash('sha256').update(content).digest('hex')}`)
    const second = await createPackage(developer, app.guid)
    expect((await uploadBits(developer, second, { a: '1' }, [resourceOf('lost', content)])).status).toBe(404)
    expect((await stateOf(developer, second)).state).toBe('FAILED')
    expect((await developer.post('/v3/resource_matches', { resources: [resourceOf('x', content)] })).body.resources).toEqual([])
  })

  it.each<[string, () => Promise<Buffer>, RegExp]>([
    ['a name that leads out', async () => renamed(await zipOf({ 'aa/bb': 'x' }), 'aa/bb', '../bb'), /leads out|\.\./],
    ['an absolute name', async () => renamed(await zipOf({ 'aa/bb': 'x' }), 'aa/bb', '/a/bb'), /absolute|leads out/],
    ['no archive at all', async () => Buffer.from('this is no zip archive'), /not a valid zip archive/],
    ['nothing', async () => Buffer.alloc(0), /zip archive/],
  ])('refuses bits with %s and says so', async (_what, make, reason) => {
    const { developer, packageGuid } = await prepare()
    const answer = await uploadBits(developer, packageGuid, await make())
    expect([answer.status, answer.body.errors[0].title]).toEqual([400, 'CF-AppBitsUploadInvalid'])
    expect(answer.body.errors[0].detail).toMatch(reason)
    const { state, data } = await stateOf(developer, packageGuid)
    expect([state, data.error]).toEqual(['FAILED', expect.stringMatching(reason)])
    expect(api.blobs.blobs.has(`packages/${packageGuid}`)).toBe(false)
    await eventually(async () => (await litter()).length === 0)
  })

  it('refuses what is over the limit, whether it says so beforehand or not', async () => {
    const { developer, packageGuid } = await prepare()
    const large = Buffer.alloc(65 * 1024, 1)
    const answer = await uploadBits(developer, packageGuid, large)
    expect([answer.status, answer.body.errors[0].detail]).toEqual([422, expect.stringContaining('larger than 65536 bytes')])
    expect((await stateOf(developer, packageGuid)).state).toBe('AWAITING_UPLOAD')
    const { body, headers } = multipart([{ name: 'bits', bytes: large, filename: 'package.zip' }])
    const told = await developer.post(`/v3/packages/${packageGuid}/upload`, body, {
      ...headers,
      'content-length': String(10 ** 12),
    })
    expect(told.body.errors[0].detail).toContain('larger than 65536 bytes')
    await eventually(async () => (await litter()).length === 0)
  })

  it.each([
    ['no file and no resources', () => multipart([{ name: 'other', text: 'x' }]), /must include either resources or bits/],
    ['resources that are no list', () => multipart([{ name: 'resources', text: '{}' }]), /Resources must be an array/],
    [
      'no multipart form',
      () => ({ body: Buffer.from('{}'), headers: { 'content-type': 'application/json' } }),
      /multipart\/form-data/,
    ],
  ])('refuses %s and stays ready for the upload', async (_what, make, reason) => {
    const { developer, packageGuid } = await prepare()
    const { body, headers } = make()
    const answer = await developer.post(`/v3/packages/${packageGuid}/upload`, body, headers)
    expect([answer.status, answer.body.errors[0].detail]).toEqual([422, expect.stringMatching(reason)])
    expect((await uploadBits(developer, packageGuid, { a: '1' })).status).toBe(200)
  })

  it('keeps nothing of an upload that breaks off, and takes it again', async () => {
    const { developer, packageGuid } = await prepare()
    const { body, headers } = multipart([
      { name: 'bits', bytes: await zipOf({ a: 'x'.repeat(30_000) }), filename: 'package.zip' },
    ])
    const socket = connect((api.app.server.address() as AddressInfo).port, '127.0.0.1')
    const lines = [
      `POST /v3/packages/${packageGuid}/upload HTTP/1.1`,
      'Host: localhost',
      `Authorization: bearer ${developer.token}`,
      `Content-Type: ${headers['content-type'] ?? ''}`,
      `Content-Length: ${body.length}`,
    ]
    socket.on('error', () => undefined)
    socket.write(`${lines.join('\r\n')}\r\n\r\n`)
    socket.write(body.subarray(0, body.length - 60))
    await eventually(async () => (await litter()).length === 1)
    socket.destroy()
    await eventually(async () => (await litter()).length === 0)
    expect((await stateOf(developer, packageGuid)).state).toBe('AWAITING_UPLOAD')
    expect((await uploadBits(developer, packageGuid, { a: '1' })).status).toBe(200)
  })

  it('tells a client that is still sending why it is refused, whatever it sends', async () => {
    const { developer, packageGuid } = await prepare()
    const { port } = api.app.server.address() as AddressInfo
    const { body, headers } = multipart([{ name: 'bits', bytes: Buffer.alloc(70 * 1024 ** 2), filename: 'package.zip' }])
    for (const [guid, reason] of [
      [packageGuid, 'larger than 65536 bytes'],
      ['gone', 'Package not found'],
    ] as const) {
      const answer = await fetch(`http://127.0.0.1:${port}/v3/packages/${guid}/upload`, {
        method: 'POST',
        headers: { authorization: `bearer ${developer.token}`, ...headers },
        body: new Uint8Array(body),
      })
      expect(await answer.text()).toContain(reason)
    }
  })

  it('gives up what an api was processing when it ended', async () => {
    const { developer, packageGuid } = await prepare()
    await api.context.db.package.update({
      where: { guid: packageGuid },
      data: { state: 'PROCESSING_UPLOAD', updatedAt: new Date(0) },
    })
    expect(await stateOf(developer, packageGuid)).toMatchObject({
      state: 'FAILED',
      data: { error: expect.stringContaining('Push again') },
    })
  })

  it('copies packages between apps', async () => {
    const { developer, space, app, packageGuid, stranger } = await prepare()
    const target = await createApp(developer, space.guid)
    const copy = (caller: Caller) => caller.post(`/v3/packages?source_guid=${packageGuid}`, { relationships: toApp(target.guid) })
    expect((await copy(developer)).body.errors[0].detail).toMatch(/not ready/)
    await uploadBits(developer, packageGuid, { a: app.guid })
    const copied = await copy(developer)
    expect([copied.status, copied.body.state]).toEqual([201, 'COPYING'])
    await eventually(async () => (await stateOf(developer, copied.body.guid)).state === 'READY')
    expect((await developer.get(`/v3/packages/${copied.body.guid}/download`)).status).toBe(200)
    expect((await copy(stranger)).status).toBe(422)
  })

  it('lists by app, state and guid, newest first where asked, and only what the caller may see', async () => {
    const { developer, app, packageGuid, stranger, admin } = await prepare()
    await uploadBits(developer, packageGuid, { a: '1' })
    const second = await createPackage(developer, app.guid)
    const list = async (query: string, caller = developer) =>
      (await caller.get(`/v3/packages?app_guids=${app.guid}${query}`)).body.resources?.map(({ guid }: { guid: string }) => guid)
    expect(await list('&order_by=-created_at')).toEqual([second, packageGuid])
    expect(await list('&states=READY')).toEqual([packageGuid])
    expect(await list(`&guids=${second}&page=1&per_page=1`)).toEqual([second])
    expect(await list('', stranger)).toEqual([])
    expect(await list('', admin)).toHaveLength(2)
    expect((await developer.get('/v3/packages?nonsense=1')).body.errors[0].title).toBe('CF-BadQueryParameter')
    await developer.patch(`/v3/packages/${second}`, { metadata: { labels: { tier: 'gold' } } })
    expect(await list('&label_selector=tier=gold')).toEqual([second])
  })

  it('keeps the bits of the newest packages and droplets, and of what is in use', async () => {
    const { developer, space } = await anOrganization(api)
    const { guid, dropletGuid: first } = await pushApp(api, developer, space.guid)
    const newer: string[] = []
    for (let push = 0; push < 7; push++) {
      const packageGuid = await createPackage(developer, guid)
      await uploadBits(developer, packageGuid, { a: `${push}` })
      const build = await developer.post('/v3/builds', { package: { guid: packageGuid } })
      newer.push(await finishBuild(api, build.body.guid))
    }
    await expireBits(api.context.pool)
    const states = async (kind: string) =>
      (await developer.get(`/v3/${kind}?app_guids=${guid}&order_by=created_at`)).body.resources.map(({ state }: Json) => state)
    expect(await states('packages')).toEqual(['READY', 'EXPIRED', 'EXPIRED', ...Array<string>(5).fill('READY')])
    expect(await states('droplets')).toEqual(['STAGED', 'EXPIRED', 'EXPIRED', ...Array<string>(5).fill('STAGED')])
    expect((await developer.get(`/v3/droplets/${first}`)).body.state).toBe('STAGED')
    // It still runs with the first one, whatever is current.
    await developer.patch(`/v3/apps/${guid}/relationships/current_droplet`, { data: { guid: newer.at(-1) } })
    expect((await developer.delete(`/v3/droplets/${first}`)).body.errors[0].detail).toMatch(/run with this droplet/)
  })

  it('deletes a package with its bits', async () => {
    const { developer, packageGuid } = await prepare()
    await uploadBits(developer, packageGuid, { a: '1' })
    expect((await developer.job(await developer.delete(`/v3/packages/${packageGuid}`))).state).toBe('COMPLETE')
    expect((await developer.get(`/v3/packages/${packageGuid}`)).status).toBe(404)
    expect(api.blobs.blobs.has(`packages/${packageGuid}`)).toBe(false)
  })

  describe('builds', () => {
    it('and apps are kept from the lifecycle of Cloud Native Buildpacks, with the reason, and stay as they are', async () => {
      const { developer, space, packageGuid, app } = await prepare()
      await uploadBits(developer, packageGuid, { a: '1' })
      const lifecycle = { type: 'cnb', data: { buildpacks: ['docker://paketo/nodejs'], stack: 'cflinuxfs4' } }
      const yaml = 'applications: [{ name: x, lifecycle: cnb }]'
      for (const answer of [
        await developer.post('/v3/builds', { package: { guid: packageGuid }, lifecycle }),
        await developer.patch(`/v3/apps/${app.guid}`, { lifecycle }),
        await developer.post(`/v3/spaces/${space.guid}/actions/apply_manifest`, yaml, { 'content-type': 'application/x-yaml' }),
      ])
        expect([answer.status, answer.body.errors[0].detail]).toEqual([422, expect.stringMatching(/'cnb' is not available/)])
      expect((await developer.get(`/v3/apps/${app.guid}`)).body.lifecycle.type).toBe('buildpack')
      expect((await developer.get(`/v3/apps/${app.guid}/builds`)).body.resources).toEqual([])
      expect((await developer.get(`/v3/apps?names=x&space_guids=${space.guid}`)).body.resources).toEqual([])
    })

    it('need a package that is ready, one at a time, and keep what they were given', async () => {
      const { developer, packageGuid, app, auditor, stranger } = await prepare()
      const build = (caller: Caller, guid = packageGuid) => caller.post('/v3/builds', { package: { guid } })
      const early = await build(developer)
      expect([early.status, early.body.errors[0].detail]).toEqual([
        400,
        'Bad request: Cannot stage package whose state is not ready.',
      ])
      await uploadBits(developer, packageGuid, { a: '1' })
      expect((await build(auditor)).status).toBe(403)
      expect((await build(stranger)).status).toBe(422)
      expect((await build(developer, 'gone')).body.errors[0].detail).toContain('Unable to use package')
      const first = await build(developer)
      expect(first.status).toBe(201)
      expect((await build(developer)).body.errors[0].detail).toBe('Only one build can be STAGING at a time per application.')
      const waiting = developer.get(`/v3/builds/${first.body.guid}`)
      const droplet = await finishBuild(api, first.body.guid)
      expect((await waiting).body).toMatchObject({
        state: 'STAGED',
        droplet: { guid: droplet },
        created_by: { name: developer.name },
      })
      expect((await developer.get(`/v3/apps/${app.guid}/builds?states=STAGED`)).body.resources).toHaveLength(1)
      expect(
        (await developer.get(`/v3/packages/${packageGuid}/droplets?states=STAGED&page=1&per_page=1`)).body.resources,
      ).toMatchObject([{ guid: droplet, state: 'STAGED', links: { package: {} } }])
    })

    it('tell why they failed', async () => {
      const { developer, packageGuid } = await prepare()
      await uploadBits(developer, packageGuid, { a: '1' })
      const { guid } = (await developer.post('/v3/builds', { package: { guid: packageGuid } })).body
      const error = 'NoAppDetectedError - An app was not successfully detected by any available buildpack'
      await api.context.db.build.update({ where: { guid }, data: { state: 'FAILED', error } })
      expect((await developer.get(`/v3/builds/${guid}`)).body).toMatchObject({ state: 'FAILED', error, droplet: null })
    })
  })

  describe('droplets', () => {
    const dropletOf = async (files: Record<string, string>) => {
      const folder = await mkdtemp(join(tmpdir(), 'droplet-'))
      for (const [path, content] of Object.entries(files)) {
        await mkdir(join(folder, path, '..'), { recursive: true })
        await writeFile(join(folder, path), content)
      }
      const bytes = await buffer(packTar(folder))
      await rm(folder, { recursive: true })
      return bytes
    }
    const upload = async (caller: Caller, guid: string, bytes: Buffer) => {
      const { body, headers } = multipart([{ name: 'bits', bytes, filename: 'droplet.tgz' }])
      return caller.post(`/v3/droplets/${guid}/upload`, body, headers)
    }

    it('are uploaded, bring their start command, run, and are given back', async () => {
      const { developer, app } = await prepare()
      const { guid } = (await developer.post('/v3/droplets', { relationships: toApp(app.guid) })).body
      const bytes = await dropletOf({ 'app/index.js': '1', 'staging_info.yml': '{"start_command":"node index.js"}' })
      const answer = await upload(developer, guid, bytes)
      expect(answer.status).toBe(202)
      expect((await developer.job(answer)).state).toBe('COMPLETE')
      expect((await developer.get(`/v3/droplets/${guid}`)).body).toMatchObject({
        state: 'STAGED',
        process_types: { web: 'node index.js' },
        checksum: { type: 'sha256', value: createHash('sha256').update(bytes).digest('hex') },
      })
      expect((await developer.get(`/v3/droplets/${guid}/download`)).raw.equals(bytes)).toBe(true)
      await developer.patch(`/v3/apps/${app.guid}/relationships/current_droplet`, { data: { guid } })
      expect((await developer.post(`/v3/apps/${app.guid}/actions/restart`)).body.state).toBe('STARTED')
      expect((await developer.get(`/v3/droplets?app_guids=${app.guid}&current=true`)).body.resources).toMatchObject([{ guid }])
      expect((await developer.delete(`/v3/droplets/${guid}`)).body.errors[0].detail).toMatch(/current droplet/)
      expect([...api.blobs.blobs.keys()].filter((key) => key.startsWith('uploads/'))).toEqual([])
    })

    it.each([
      ['no archive', () => Promise.resolve(Buffer.from('no archive'))],
      ['no folder app in it', () => dropletOf({ 'other/file': '1' })],
    ])('with %s fail with the reason', async (_what, make) => {
      const { developer, app } = await prepare()
      const { guid } = (await developer.post('/v3/droplets', { relationships: toApp(app.guid) })).body
      const job = await developer.job(await upload(developer, guid, await make()))
      expect([job.state, job.errors[0].detail]).toEqual(['FAILED', expect.stringContaining('no droplet')])
      expect((await developer.get(`/v3/droplets/${guid}`)).body).toMatchObject({ state: 'FAILED', error: expect.any(String) })
      expect([...api.blobs.blobs.keys()].filter((key) => key.startsWith('uploads/'))).toEqual([])
    })

    it('are hidden from strangers and copied by developers', async () => {
      const { developer, space, stranger } = await prepare()
      const { dropletGuid } = await pushApp(api, developer, space.guid, { start: false })
      api.blobs.blobs.set(`droplets/${dropletGuid}`, { bytes: Buffer.from('droplet'), modifiedAt: new Date() })
      expect((await stranger.get(`/v3/droplets/${dropletGuid}`)).body.errors[0].detail).toBe('Droplet not found')
      const target = await createApp(developer, space.guid)
      const copied = await developer.post(`/v3/droplets?source_guid=${dropletGuid}`, { relationships: toApp(target.guid) })
      expect([copied.status, copied.body.state]).toEqual([201, 'COPYING'])
      await eventually(async () => (await developer.get(`/v3/droplets/${copied.body.guid}`)).body.state === 'STAGED')
    })
  })
})

const renamed = (bytes: Buffer, from: string, to: string): Buffer =>
  Buffer.from(bytes.toString('latin1').replaceAll(from, to), 'latin1')
