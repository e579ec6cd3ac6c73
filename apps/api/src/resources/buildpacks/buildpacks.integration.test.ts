import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { multipart, zipOf, type Files } from '../push.fixture.js'
import { seedBuildpacks } from '../../seed/buildpacks.js'
import { anOrganization, startTestApi, type TestApi } from '../../testing.fixture.js'

describe('buildpacks', () => {
  let api: TestApi
  let place: Awaited<ReturnType<typeof anOrganization>>
  const folder = mkdtempSync(join(tmpdir(), 'bloomery-buildpacks-'))
  const addFolder = (name: string, version = '1.0.0') => {
    mkdirSync(join(folder, name, 'bin'), { recursive: true })
    writeFileSync(join(folder, name, 'bin', 'detect'), '#!/bin/sh\n')
    writeFileSync(join(folder, name, 'package.json'), JSON.stringify({ version }))
  }
  const seed = () => api.context.db.$transaction((tx) => seedBuildpacks(tx, folder))
  beforeAll(async () => {
    api = await startTestApi()
    place = await anOrganization(api)
  })
  beforeEach(async () => {
    await api.context.db.buildpack.deleteMany()
    await api.context.db.setting.deleteMany()
    rmSync(folder, { recursive: true, force: true })
    for (const name of ['binary', 'nodejs', 'python']) addFolder(name)
    await seed()
  })
  afterAll(async () => {
    rmSync(folder, { recursive: true, force: true })
    await api.close()
  })

  const names = async (query = '') =>
    (await place.developer.get(`/v3/buildpacks${query}`)).body.resources.map(
      (row: { position: number; name: string }) => `${row.position} ${row.name}`,
    )
  const find = async (name: string) => (await place.developer.get(`/v3/buildpacks?names=${name}`)).body.resources[0]
  const create = async (name: string, more: Record<string, unknown> = {}) => {
    const created = await place.admin.post('/v3/buildpacks', { name, enabled: true, ...more })
    if (created.status !== 201) throw new Error(created.text)
    return created.body
  }
  const uploadBytes = (guid: string, bytes: Buffer) => {
    const { body, headers } = multipart([{ name: 'bits', bytes, filename: 'mine-v1.zip' }])
    return place.admin.post(`/v3/buildpacks/${guid}/upload`, body, headers)
  }
  const upload = async (guid: string, files: Files) => uploadBytes(guid, await zipOf(files))
  const BITS = { 'bin/detect': '#!/bin/sh', 'manifest.yml': 'language: x\nstack: cflinuxfs4\n' }

  it('shows the product’s own in their order, with all that the client prints', async () => {
    expect(await names()).toEqual(['1 nodejs_buildpack', '2 python_buildpack', '3 binary_buildpack'])
    expect(await find('nodejs_buildpack')).toMatchObject({
      stack: null,
      state: 'READY',
      filename: 'nodejs_buildpack-v1.0.0.zip',
      enabled: true,
      locked: false,
      lifecycle: 'buildpack',
    })
    expect(await names('?stacks=cflinuxfs4')).toEqual([])
    expect(await names('?lifecycle=cnb')).toEqual([])
    expect(await names('?names=')).toEqual([])
  })

  it('keeps at the next start what an operator has renamed, replaced or deleted, adds what is new, and tells the new version', async () => {
    const { admin } = place
    await admin.patch(`/v3/buildpacks/${(await find('nodejs_buildpack')).guid}`, { name: 'node', position: 3 })
    await admin.job(await admin.delete(`/v3/buildpacks/${(await find('python_buildpack')).guid}`))
    addFolder('nodejs', '2.0.0')
    addFolder('staticfile')
    await seed()
    expect(await names()).toEqual(['1 staticfile_buildpack', '2 binary_buildpack', '3 node'])
    expect(await find('node')).toMatchObject({ filename: 'nodejs_buildpack-v2.0.0.zip' })
  })

  it('numbers without gaps, whatever is added, moved and taken away', async () => {
    const { admin, developer } = place
    const { guid } = await create('mine', { position: 2 })
    expect(await names()).toEqual(['1 nodejs_buildpack', '2 mine', '3 python_buildpack', '4 binary_buildpack'])
    const move = async (position: number) => (await admin.patch(`/v3/buildpacks/${guid}`, { position })).body.position
    expect([await move(99), await move(1), await move(3)]).toEqual([4, 1, 3])
    expect(await names()).toEqual(['1 nodejs_buildpack', '2 python_buildpack', '3 mine', '4 binary_buildpack'])
    expect((await developer.delete(`/v3/buildpacks/${guid}`)).status).toBe(403)
    await admin.job(await admin.delete(`/v3/buildpacks/${guid}`))
    expect(await names()).toEqual(['1 nodejs_buildpack', '2 python_buildpack', '3 binary_buildpack'])
    await Promise.all(['a', 'b', 'c', 'd'].map((name) => create(name, { position: 1 })))
    expect((await names()).map((row: string) => row.split(' ')[0])).toEqual(['1', '2', '3', '4', '5', '6', '7'])
  })

  it('takes bits, learns the stack from them, and lets go of those that they replace', async () => {
    const { admin } = place
    const { guid, state } = await create('mine')
    expect(state).toBe('AWAITING_UPLOAD')
    const accepted = await upload(guid, BITS)
    expect(accepted.status).toBe(202)
    expect(await admin.job(accepted)).toMatchObject({ state: 'COMPLETE', errors: [] })
    expect(await find('mine')).toMatchObject({ state: 'READY', stack: 'cflinuxfs4', filename: 'mine-v1.zip' })
    const keys = () => [...api.blobs.blobs.keys()]
    const [first] = keys()
    expect(keys()).toEqual([expect.stringMatching(/^buildpacks\/[0-9a-f]{64}$/)])
    const { sha256 } = await api.context.db.buildpack.findUniqueOrThrow({ where: { guid } })
    expect(first).toBe(`buildpacks/${sha256}`)
    await admin.job(await upload(guid, { ...BITS, more: 'x' }))
    expect(keys()).toHaveLength(1)
    expect(keys()).not.toContain(first)
    await admin.job(await admin.delete(`/v3/buildpacks/${guid}`))
    expect(keys()).toEqual([])
  })

  it('replaces the bits of a system buildpack', async () => {
    const { admin } = place
    const { guid } = await find('nodejs_buildpack')
    await admin.job(await upload(guid, { 'bin/detect': '' }))
    await seed()
    expect(await find('nodejs_buildpack')).toMatchObject({ guid, filename: 'mine-v1.zip', stack: null })
    expect(await names()).toHaveLength(3)
  })

  it.each([
    ['another stack', { 'manifest.yml': 'stack: other' }, 390_012, 'Uploaded buildpack stack (other) does not exist'],
    ['a manifest that is none', { 'manifest.yml': 'stack: [' }, 290_003, 'manifest.yml cannot be read'],
    ['a stack that the name has already', BITS, 290_000, 'The buildpack name twin is already in use for the stack cflinuxfs4'],
  ])('tells of %s by the job', async (_what, files, code, detail) => {
    await create('twin', { stack: 'cflinuxfs4' })
    const { guid } = await create('twin')
    const job = await place.admin.job(await upload(guid, files))
    expect(job).toMatchObject({ state: 'FAILED', errors: [{ code, detail: expect.stringContaining(detail) }] })
    expect([...api.blobs.blobs.keys()].filter((key) => key.startsWith('uploads/'))).toEqual([])
  })

  it('refuses what is no zip file at once, and a broken one by the job', async () => {
    const { admin } = place
    const { guid } = await create('mine')
    const details = async (bytes: Buffer) => (await uploadBytes(guid, bytes)).body.errors[0].detail
    expect(await details(Buffer.from('no'))).toContain('mine-v1.zip is not a zip file')
    expect(await details(Buffer.alloc(0))).toContain('mine-v1.zip cannot be empty')
    expect((await admin.post(`/v3/buildpacks/${guid}/upload`, {})).status).toBe(422)
    const broken = (await zipOf(BITS)).subarray(0, 60)
    expect(await admin.job(await uploadBytes(guid, broken))).toMatchObject({ state: 'FAILED', errors: [{ code: 390_013 }] })
    await admin.patch(`/v3/buildpacks/${guid}`, { locked: true })
    expect((await upload(guid, BITS)).body.errors[0].detail).toBe('Buildpack is locked')
  })

  it('refuses what is taken, unknown or not to be changed, and changes nothing for an empty body', async () => {
    const { admin, developer } = place
    const refusal = async (body: Record<string, unknown>) => (await admin.post('/v3/buildpacks', body)).body.errors[0].detail
    const mine = await create('mine')
    expect(await refusal({ name: 'mine' })).toBe("Buildpack with name 'mine' and an unassigned stack already exists")
    expect(await refusal({ name: 'other', stack: 'none' })).toBe("Stack 'none' does not exist")
    expect(await refusal({ name: 'a b' })).toContain('Name can only contain')
    expect(await refusal({ name: 'x', position: 0 })).toContain('Position must be greater')
    expect(await refusal({ name: 'x', lifecycle: 'cnb' })).toContain('buildpacks of the lifecycle')
    expect((await developer.post('/v3/buildpacks', { name: 'x' })).status).toBe(403)
    const self = `/v3/buildpacks/${mine.guid}`
    const unchanged = await admin.patch(self, {})
    expect(unchanged.body).toMatchObject({ name: 'mine', position: mine.position, enabled: true })
    expect(unchanged.headers['location']).toBeUndefined()
    expect((await admin.patch(self, { stack: 'cflinuxfs4', enabled: false })).body).toMatchObject({
      stack: 'cflinuxfs4',
      enabled: false,
    })
    expect((await admin.patch(self, { stack: null })).body.errors[0].detail).toBe('Buildpack stack cannot be changed')
    expect((await admin.patch('/v3/buildpacks/none', {})).body.errors[0].detail).toBe('Buildpack not found')
  })
})
