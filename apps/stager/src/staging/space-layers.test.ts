import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { makerOf, SpaceLayers } from './space-layers.js'

const NAME = './app/node_modules'
const MAKER = makerOf({ source: '/buildpacks/nodejs-1', stack: 'cflinuxfs4', imageDigest: 'sha256:1' })

describe('layers that apps of a space share', () => {
  let home: string
  let droplets: string
  let layers: SpaceLayers
  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'space-layers-'))
    droplets = join(home, 'droplets')
    layers = new SpaceLayers(join(home, 'known'))
  })
  afterEach(() => rm(home, { recursive: true, force: true }))

  const placed = async (layer: string, key: string) => {
    await mkdir(join(droplets, layer, NAME), { recursive: true })
    return { name: NAME, key, layer }
  }
  const seen = async (space = 's1', makers = [MAKER], clearedAt?: Date) =>
    (await layers.read(space, droplets, new Set(makers), clearedAt)).map(({ layer }) => layer)

  it('are found by other apps of the space, never by those of another space or by another buildpack or stack', async () => {
    await layers.add('s1', [await placed('layer-a', 'k1')], MAKER)
    expect(await seen()).toEqual(['layer-a'])
    expect(await seen('s2')).toEqual([])
    for (const other of [{ source: '/buildpacks/nodejs-2' }, { stack: 'bookworm' }, { imageDigest: 'sha256:2' }])
      expect(
        await seen('s1', [makerOf({ source: '/buildpacks/nodejs-1', stack: 'cflinuxfs4', imageDigest: 'sha256:1', ...other })]),
      ).toEqual([])
  })

  it('are few, the newest first; one for each key; those that the cell has removed are left out', async () => {
    for (let i = 0; i < 20; i++) await layers.add('s1', [await placed(`layer-${i}`, `k${i}`)], MAKER)
    expect(await seen()).toEqual(Array.from({ length: 12 }, (_, i) => `layer-${19 - i}`))
    await layers.add('s1', [await placed('layer-new', 'k15')], MAKER)
    await rm(join(droplets, 'layer-18'), { recursive: true })
    const now = await seen()
    expect(now.slice(0, 3)).toEqual(['layer-new', 'layer-19', 'layer-17'])
    expect(now).not.toContain('layer-15')
  })

  it('go with the caches: one that was taken over stays as old as it was', async () => {
    const layer = await placed('layer-a', 'k1')
    await layers.add('s1', [layer], MAKER, new Date(1000))
    await layers.add('s1', [layer], MAKER, new Date(9000))
    expect(await seen('s1', [MAKER], new Date(500))).toEqual(['layer-a'])
    expect(await seen('s1', [MAKER], new Date(5000))).toEqual([])
  })

  it('of many builds at once are all kept', async () => {
    const made = await Promise.all(Array.from({ length: 8 }, (_, i) => placed(`layer-${i}`, `k${i}`)))
    await Promise.all(made.map((layer) => layers.add('s1', [layer], MAKER)))
    expect((await seen()).sort()).toEqual(made.map(({ layer }) => layer))
  })

  it('are marked as used when they are read; a damaged list is none; a list that nobody uses goes', async () => {
    await layers.add('s1', [await placed('layer-a', 'k1')], MAKER)
    await utimes(join(droplets, 'layer-a'), 1, 1)
    await seen()
    expect((await stat(join(droplets, 'layer-a'))).mtimeMs).toBeGreaterThan(Date.now() - 60_000)
    const file = join(home, 'known', 's1.json')
    expect((await stat(file)).mode & 0o077).toBe(0)
    await layers.evict()
    expect(JSON.parse(await readFile(file, 'utf8'))).toHaveLength(1)
    await writeFile(file, '[{"name":')
    expect(await seen()).toEqual([])
    await utimes(file, 1, 1)
    await layers.evict()
    expect(await readdir(join(home, 'known'))).toEqual([])
  })
})
